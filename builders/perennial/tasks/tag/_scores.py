"""How well spans were found: exactly, by both ends and label (CoNLL-2003: Tjong Kim Sang and De Meulder,
arXiv:cs/0306050, as seqeval counts them)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from perennial.tasks.tag._spans import Label, Span, parsed
from perennial.types import Array, Scores

ELSEWHERE = "(elsewhere)"
"""Where the other side has no such span."""


def judge(said: Sequence[str], gold: Sequence[str]) -> Scores:
    """Of labels in their one form. `correct` of a text is the F1 of its spans, 1 where there are none to
    find; `entity_f1` is that of all texts' spans together, `macro_f1` the mean over labels."""
    pairs = [_pair(theirs, ours) for theirs, ours in zip(said, gold, strict=True)]
    found, told, right = (Counter[str]() for _ in range(3))
    for theirs, ours in pairs:
        told.update(name for *_, name in theirs)
        found.update(name for *_, name in ours)
        right.update(name for *_, name in theirs & ours)
    names = sorted({*found, *told})
    macro = np.mean([_f1(right[name], told[name], found[name]) for name in names]) if names else 1.0
    correct = np.array([_f1(len(theirs & ours), len(theirs), len(ours)) for theirs, ours in pairs])
    metrics = {
        "accuracy": float(np.mean(correct == 1.0)),
        "macro_f1": float(macro),
        "entity_f1": _f1(right.total(), told.total(), found.total()),
    }
    return Scores(metrics, correct)


def confused(said: Sequence[str], gold: Sequence[str], names: Sequence[str]) -> Array:
    """(names, names), the last of which is `ELSEWHERE`: spans that both sides have with the same ends, by the
    right label and the one given; and those that one side alone has."""
    places = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), int)
    for theirs, ours in (_pair(one, other) for one, other in zip(said, gold, strict=True)):
        there = {(start, end): name for start, end, name in theirs}
        for start, end, name in ours:
            counts[places[name], places[there.pop((start, end), ELSEWHERE)]] += 1
        for name in there.values():
            counts[places[ELSEWHERE], places[name]] += 1
    return counts


def _pair(said: str, gold: str) -> tuple[set[Span], set[Span]]:
    """The spans of both sides, where the gold label tells of them."""
    truth = parsed(gold)
    return {span for span in parsed(said).spans if _told(truth, span)}, {*truth.spans}


def _told(truth: Label, span: Span) -> bool:
    return truth.only is None or (span[0] < truth.only[1] and truth.only[0] < span[1])


def _f1(right: int, said: int, gold: int) -> float:
    return 2 * right / (said + gold) if said + gold else 1.0

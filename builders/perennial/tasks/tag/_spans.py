"""A label of `tag` in its one form, as JSON, and what it says of the words of a text.

A whole text's label is the list of its spans, `[[start, end, "PER"], …]` in characters and in order. That of
one span alone is `{"start": …, "end": …, "label": …}`, whose label is null where there is none; of all else
it says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from perennial.types import UNTOLD, Array

OUTSIDE, BEGINS, INSIDE = "O", "B-", "I-"

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Label:
    """`spans` in order; where `only` is given they are those of this part of the text, from start to end."""

    spans: tuple[Span, ...]
    only: tuple[int, int] | None = None


def parsed(label: str) -> Label:
    """Of a label in its one form."""
    found = json.loads(label)
    if isinstance(found, list):
        return Label(tuple((start, end, name) for start, end, name in found))
    start, end, name = found["start"], found["end"], found["label"]
    return Label(((start, end, name),) if name else (), (start, end))


def written(label: Label) -> str:
    if label.only is None:
        return json.dumps([list(span) for span in label.spans], ensure_ascii=False)
    start, end = label.only
    name = label.spans[0][2] if label.spans else None
    return json.dumps({"start": start, "end": end, "label": name}, ensure_ascii=False)


def classes_of(names: Iterable[str]) -> list[str]:
    """What is told of a word in a service of these labels (Ramshaw and Marcus, arXiv:cmp-lg/9505040)."""
    return [OUTSIDE, *(f"{part}{name}" for name in names for part in (BEGINS, INSIDE))]


def names_of(classes: Iterable[str]) -> list[str]:
    """The labels of which classes are."""
    return sorted({name[2:] for name in classes if name.startswith((BEGINS, INSIDE))})


def columns(label: Label, words: Array, classes: Sequence[str]) -> Array:
    """(words,): for each of `words` (words, 2), from start to end, the column of its class, or `UNTOLD`.

    A word is of the span that its first character is in, and begins it unless a word before did.
    """
    known = {name: column for column, name in enumerate(classes)}
    found = np.full(len(words), known[OUTSIDE])
    if label.only:
        start, end = label.only
        found[(words[:, 1] <= start) | (words[:, 0] >= end)] = UNTOLD
    for start, end, name in label.spans:
        inside = np.flatnonzero((words[:, 1] > start) & (words[:, 0] < end))
        found[inside] = known[f"{INSIDE}{name}"]
        found[inside[:1]] = known[f"{BEGINS}{name}"]
    return found


@cache
def may_follow(classes: tuple[str, ...]) -> Array:
    """(classes, classes) of bool: whether the second may follow the first: a span has one label. After no
    span `I-` may come too, as there are checkpoints whose spans all begin with it."""
    return np.array(
        [
            [not two.startswith(INSIDE) or one in (OUTSIDE, BEGINS + two[2:], two) for two in classes]
            for one in classes
        ]
    )


def likeliest(probabilities: Array, classes: tuple[str, ...]) -> Array:
    """(words,): the likeliest columns, by their probabilities (words, classes), of which each may follow the
    one before (Viterbi, 1967)."""
    best, allowed = probabilities.argmax(axis=1), may_follow(classes)
    if allowed[best[:-1], best[1:]].all():
        return np.asarray(best)
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    ways = np.where(allowed, 0, -np.inf)
    reached, before = logs[0], []
    for of_word in logs[1:]:
        paths = reached[:, None] + ways
        before.append(paths.argmax(axis=0))
        reached = paths.max(axis=0) + of_word
    path = [reached.argmax()]
    for one in reversed(before):
        path.append(one[path[-1]])
    return np.array(path[::-1])


def spans(said: Sequence[str], words: Array) -> Iterator[tuple[Span, slice]]:
    """The spans that classes (words,) make, with the words of each. What is inside of nothing begins."""
    start = None
    for place, name in enumerate([*said, OUTSIDE]):
        goes_on = start is not None and name == f"{INSIDE}{said[start][2:]}"
        if start is not None and not goes_on:
            yield (int(words[start, 0]), int(words[place - 1, 1]), said[start][2:]), slice(start, place)
            start = None
        if start is None and name != OUTSIDE:
            start = place

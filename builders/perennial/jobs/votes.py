"""What is learned where several sources speak: one label a text, and how far it is trusted; and how much one
of them may say. Knows feedback rows; leaves which texts are learned and which judge to the snapshot, and of
what in a text a label speaks to the task's labels.

A source is who its rows say it is, which nobody proves. Of rows without one, each whose prediction id is
proven speaks for itself, and all others are one source: the empty name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from statistics import fmean

from perennial.split import fingerprint
from perennial.task_protocol import Labels
from perennial.types import Example, FeedbackRow

Said = dict[tuple[bytes, str], Example]
"""By text and source; its weight is the trust in it."""


def said(rows: Sequence[FeedbackRow], trust: Mapping[str, float], labels: Labels) -> Said:
    """What each source said last of each thing in each text, times the trust in the source (1 where it is not
    named). Without any trust it is not heard."""
    last: Said = {}
    for row in rows:
        key, label = (fingerprint(row.text), source_of(row)), row.label
        if key in last:
            label = labels.whole({**labels.parts(last[key].label), **labels.parts(label)}.values())
        last[key] = Example(row.text, label, row.trust * trust.get(row.source, 1.0), row.source, row.row)
    return {key: example for key, example in last.items() if example.weight > 0}


def capped(heard: Said, share: float, seed: int) -> tuple[Said, dict[str, int]]:
    """As much of it, at random, as leaves no source more than `share` of the whole; and how much each has
    lost. Of fewer than 1 / `share` sources nothing is left."""
    counts = Counter(source for _, source in heard)
    most = _most(counts, share)
    places: Counter[str] = Counter()
    kept = set()
    for key in Random(seed).sample(list(heard), len(heard)):
        places[key[1]] += 1
        if places[key[1]] <= most:
            kept.add(key)
    lost = {source: count - most for source, count in counts.items() if count > most}
    return {key: example for key, example in heard.items() if key in kept}, lost


def agreed(heard: Said, labels: Labels) -> dict[bytes, Example]:
    """Of each thing in a text the label with the most trust behind it, of equals the one said last. Its
    weight is the most trusted source's for it, times its share of all trust in what was said of that; the
    text's is the mean of these."""
    texts: dict[bytes, dict[str, list[Example]]] = {}
    for (text, _), example in heard.items():
        for name, part in labels.parts(example.label).items():
            texts.setdefault(text, {}).setdefault(name, []).append(replace(example, label=part))
    return {text: _whole([*map(_majority, parts.values())], labels) for text, parts in texts.items()}


def source_of(row: FeedbackRow) -> str:
    """Who speaks: see above."""
    proven = row.prediction_id if row.release is not None else None
    return row.source or proven or ""


def _most(counts: Mapping[str, int], share: float) -> int:
    """Of how many texts each source may speak, so that none has more than `share` of all that is said."""
    for most in range(max(counts.values(), default=0), 0, -1):
        if most <= share * sum(min(count, most) for count in counts.values()):
            return most
    return 0


def _whole(parts: Sequence[Example], labels: Labels) -> Example:
    newest = max(parts, key=lambda part: part.row or 0)
    label = labels.whole(part.label for part in parts)
    return replace(newest, label=label, weight=fmean(part.weight for part in parts))


def _majority(votes: Sequence[Example]) -> Example:
    behind: defaultdict[str, float] = defaultdict(float)
    for vote in votes:
        behind[vote.label] += vote.weight
    newest = sorted(votes, key=lambda vote: vote.row or 0, reverse=True)
    chosen = max(newest, key=lambda vote: behind[vote.label])
    trust = max(vote.weight for vote in votes if vote.label == chosen.label)
    return replace(chosen, weight=trust * behind[chosen.label] / sum(behind.values()))

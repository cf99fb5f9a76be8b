"""What is learned where several sources speak: one label a text, and how far it is trusted; and how much one
of them may say. Knows feedback rows; leaves which texts are learned and which judge to the snapshot.

A source is who its rows say it is, which nobody proves. Of rows without one, each whose prediction id is
proven speaks for itself, and all others are one source: the empty name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from perennial.split import fingerprint
from perennial.types import Example, FeedbackRow

Said = dict[tuple[bytes, str], Example]
"""By text and source; its weight is the trust in it."""


def said(rows: Sequence[FeedbackRow], trust: Mapping[str, float]) -> Said:
    """What each source said last of each text, times the trust in the source (1 where it is not named).
    Without any trust it is not heard."""
    last = {
        (fingerprint(row.text), source_of(row)): Example(
            row.text, row.label, row.trust * trust.get(row.source, 1.0), row.source, row.row
        )
        for row in rows
    }
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


def agreed(heard: Said) -> dict[bytes, Example]:
    """Of each text the label with the most trust behind it, of equals the one said last. Its weight is the
    most trusted source's for it, times its share of all trust in what was said of the text."""
    texts: dict[bytes, list[Example]] = {}
    for (text, _), example in heard.items():
        texts.setdefault(text, []).append(example)
    return {text: _majority(votes) for text, votes in texts.items()}


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


def _majority(votes: Sequence[Example]) -> Example:
    behind: defaultdict[str, float] = defaultdict(float)
    for vote in votes:
        behind[vote.label] += vote.weight
    newest = sorted(votes, key=lambda vote: vote.row or 0, reverse=True)
    chosen = max(newest, key=lambda vote: behind[vote.label])
    trust = max(vote.weight for vote in votes if vote.label == chosen.label)
    return replace(chosen, weight=trust * behind[chosen.label] / sum(behind.values()))

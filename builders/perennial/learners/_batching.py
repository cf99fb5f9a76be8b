"""Cuts shuffled rows into batches of texts of like length: padding is the largest loss of a mixed batch."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from perennial.types import Example

POOL = 16
"""Batches sorted together: enough for little padding, few enough for new neighbours in each epoch."""


def by_length(rows: Sequence[Example], size: int, rng: Random) -> list[list[Example]]:
    """Each row once, in batches of `size` (the last may be short): shuffled, then sorted pool by pool."""
    shuffled = rng.sample(rows, len(rows))
    batches = []
    for start in range(0, len(shuffled), POOL * size):
        pool = sorted(shuffled[start : start + POOL * size], key=lambda row: len(row.text))
        batches += [pool[at : at + size] for at in range(0, len(pool), size)]
    return batches

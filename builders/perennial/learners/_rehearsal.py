"""Epochs of fresh rows among remembered ones, and the ways to draw from a memory. How the rows of the memory
came to be in it is `perennial.memory`'s to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, cycle, islice
from random import Random

from perennial.learners._batching import by_length
from perennial.split import fingerprint
from perennial.types import Example

Draw = Callable[[Sequence[Example], int, Random], list[Example]]
"""So many rows of a memory, which has at least one."""


def rehearsed(
    fresh: Sequence[Example],
    old: Sequence[Example],
    size: int,
    rng: Random,
    draw: Draw,
    share: float = 0.5,
) -> Iterator[list[Example]]:
    """Each fresh row once, and of each batch this share old ones; fresh alone where nothing old is true."""
    true = still_true(fresh, old)
    known = max(1, round(share * size)) if true else 0
    batches = by_length(fresh, max(1, size - known), rng)
    if true:
        replayed = by_length(draw(true, known * len(batches), rng), known, rng)
        batches = [new + again for new, again in zip(batches, replayed, strict=True)]
    rng.shuffle(batches)
    return iter(batches)


def as_often(
    fresh: Sequence[Example], old: Sequence[Example], size: int, rng: Random
) -> Iterator[list[Example]]:
    """Half and half, or of a small memory each row as often as each fresh one."""
    share = min(0.5, len(old) / max(1, len(old) + len(fresh)))
    return rehearsed(fresh, old, size, rng, evenly, share)


def still_true(fresh: Sequence[Example], old: Sequence[Example]) -> list[Example]:
    """The old rows but those whose text is fresh as well: they were corrected."""
    corrected = {fingerprint(row.text) for row in fresh}
    return [row for row in old if fingerprint(row.text) not in corrected]


def evenly(old: Sequence[Example], count: int, rng: Random) -> list[Example]:
    """All of `old` as often as they fit, then a random part of them."""
    rounds, rest = divmod(count, len(old))
    return [*old] * rounds + rng.sample(old, rest)


def by_label(old: Sequence[Example], count: int, rng: Random) -> list[Example]:
    """The labels take turns, in random order, each with its rows evenly."""
    rows: dict[str, list[Example]] = {}
    for row in rng.sample(old, len(old)):
        rows.setdefault(row.label, []).append(row)
    turns = zip(*(cycle(some) for some in rows.values()), strict=True)
    return list(islice(chain.from_iterable(turns), count))

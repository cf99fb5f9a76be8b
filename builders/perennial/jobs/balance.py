"""Gives rare labels a voice: a label that one text in twenty has would otherwise never be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from perennial.types import Example


def balanced(
    fresh: Sequence[Example], old: Sequence[Example], power: float, kind: Callable[[str], str]
) -> tuple[list[Example], list[Example]]:
    """Both lists with each weight times (1 / the share of both that is of its `kind` of label) ** `power`,
    scaled to a mean factor of 1: 0 leaves the weights as they are, 1 gives every kind the same sum."""
    kinds = [kind(row.label) for row in (*fresh, *old)]
    factors = {one: (len(kinds) / count) ** power for one, count in Counter(kinds).items()}
    mean = sum(factors[one] for one in kinds) / len(kinds)
    weighed = [
        replace(row, weight=row.weight * factors[one] / mean)
        for row, one in zip((*fresh, *old), kinds, strict=True)
    ]
    return weighed[: len(fresh)], weighed[len(fresh) :]

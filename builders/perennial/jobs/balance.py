"""Gives rare labels a voice: a label that one text in twenty has would otherwise never be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from perennial.types import Example


def balanced(
    fresh: Sequence[Example], old: Sequence[Example], power: float
) -> tuple[list[Example], list[Example]]:
    """Both lists with each weight times (1 / the label's share of both) ** `power`, scaled to a mean factor
    of 1: 0 leaves the weights as they are, 1 gives every label the same sum."""
    rows = [*fresh, *old]
    counts = Counter(row.label for row in rows)
    factors = {label: (len(rows) / count) ** power for label, count in counts.items()}
    mean = sum(factors[row.label] for row in rows) / len(rows)
    return _weighed(fresh, factors, mean), _weighed(old, factors, mean)


def _weighed(rows: Sequence[Example], factors: dict[str, float], mean: float) -> list[Example]:
    return [replace(row, weight=row.weight * factors[row.label] / mean) for row in rows]

"""What is promised of the head's arithmetic: that the order of rows makes no difference, that rows taken out
leave nothing, and how long an update and a deletion take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.heads import Evidence, Statistics
from perennial.types import Array
from perennial_perf.stats import percentiles

AT_ONCE = 100
UPDATES = 200

Make = Callable[[], Statistics]
"""Statistics as they are before any of the rows."""
Solve = Callable[[Statistics], Array]


@dataclass(frozen=True)
class Exactness:
    """`apart` and `left` are the largest differences between weights: of heads that saw the same rows in
    other orders, and of one that lost rows and one that never had them. Times in ms."""

    apart: float
    left: float
    update: dict[str, float]
    deletion_ms: float


def exactness(orders: Sequence[Evidence], gone: Array, make: Make, solve: Solve) -> Exactness:
    """`orders` are the same rows, in two orders at least; `gone` says where in the first one the rows stand
    that are taken out."""
    rows = orders[0]
    sums = learned(rows, make)
    weights = solve(sums)
    apart = max(float(np.abs(solve(learned(other, make)) - weights).max()) for other in orders[1:])
    update = _updates(sums, rows, solve)
    began = time.perf_counter()
    sums.remove(rows.at(gone))
    rest = solve(sums)
    took = 1e3 * (time.perf_counter() - began)
    never = solve(learned(rows.at(np.setdiff1d(np.arange(len(rows)), gone)), make))
    return Exactness(apart, float(np.abs(rest - never).max()), update, took)


def learned(rows: Evidence, make: Make) -> Statistics:
    """In batches, as they come."""
    statistics = make()
    for start in range(0, len(rows), AT_ONCE):
        statistics.add(rows.at(np.arange(start, min(start + AT_ONCE, len(rows)))))
    return statistics


def _updates(statistics: Statistics, rows: Evidence, solve: Solve) -> dict[str, float]:
    """A correction comes and the head is solved; it is taken out again, so that nothing grows."""
    times = []
    for place in range(min(UPDATES, len(rows))):
        one = rows.at([place])
        began = time.perf_counter()
        statistics.add(one)
        solve(statistics)
        times.append(1e3 * (time.perf_counter() - began))
        statistics.remove(one)
    return {**percentiles(times, (50, 95)), "max": max(times)}

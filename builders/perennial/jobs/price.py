"""What one side's answers cost in quality beside another's, and how surely that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perennial.task_protocol import Codec
from perennial.types import Example, Tensors

RESAMPLES = 300


@dataclass(frozen=True)
class Price:
    """Points of macro-F1 that a side is ahead, with their 95 % interval."""

    points: float
    low: float
    high: float


def price(
    codec: Codec, answers: Sequence[Tensors], expected: Sequence[Tensors], examples: Sequence[Example]
) -> Price:
    """Of `answers` over `expected`, one for each example. The interval is of the paired bootstrap over texts,
    by percentiles (Efron and Tibshirani, "An introduction to the bootstrap", 1993)."""

    def ahead(chosen: Sequence[int]) -> float:
        gold = [examples[place] for place in chosen]
        ours, theirs = (codec.score([said[place] for place in chosen], gold) for said in (answers, expected))
        return 100 * (ours.metrics["macro_f1"] - theirs.metrics["macro_f1"])

    count, random = len(examples), np.random.default_rng(0)
    resampled = [ahead(random.integers(0, count, count).tolist()) for _ in range(RESAMPLES)]
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Price(ahead(range(count)), float(low), float(high))

"""Is the candidate as quick as the serving release?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
from scipy.stats import bootstrap

from perennial.gates._answers import distinct
from perennial.gates._findings import below, too_few, verdict
from perennial.protocols import Predictor
from perennial.types import Array, Example, Verdict

__all__ = ["LatencyGate"]

WARM_UP = 5
RESAMPLES = 1000


class LatencyGate:
    """Reads `latency`, real texts, and asks both sides each text in turn, one at a time.

    Passes where the ratio of the medians, candidate over serving, is surely at most `ratio`, and that of the
    99th percentiles not surely more (a tail of a few hundred answers is too short to be sure of). A first
    build has nothing to be slower than, and passes.
    """

    def __init__(
        self, ratio: float = 1.3, alpha: float = 0.05, rounds: int = 3, least_texts: int = 30, seed: int = 0
    ) -> None:
        self._ratio = ratio
        self._alpha = alpha
        self._rounds = rounds
        self._least_texts = least_texts
        self._seed = seed

    def judge(
        self, candidate: Predictor, baseline: Predictor | None, held_out: Mapping[str, Sequence[Example]]
    ) -> Verdict:
        texts = distinct(held_out.get("latency", ()))
        if len(texts) < self._least_texts:
            return too_few("latency", "latency", len(texts), self._least_texts)
        if baseline is None:
            seconds = _time((candidate,), texts, self._rounds)[0]
            return Verdict("latency", "pass", "nothing serves yet", _percentiles("candidate", seconds))
        ours, theirs = _time((candidate, baseline), texts, self._rounds)
        median, tail = (self._ratio_of(percent, ours, theirs) for percent in (50, 99))
        findings = [below("ratio of the medians", *median, self._ratio)]
        slow_tail = below("ratio of the 99th percentiles", *tail, self._ratio)
        if slow_tail.outcome == "fail":
            findings.append(slow_tail)
        figures = {
            "p50.ratio.low": median[0], "p50.ratio.high": median[1],
            "p99.ratio.low": tail[0], "p99.ratio.high": tail[1],
        }  # fmt: skip
        figures |= _percentiles("candidate", ours) | _percentiles("serving", theirs)
        return verdict("latency", findings, figures)

    def _ratio_of(self, percent: float, ours: Array, theirs: Array) -> tuple[float, float]:
        """The ratio's interval of confidence 1 - 2 alpha, by a bootstrap of the pairs."""

        def ratio(one: Array, other: Array, axis: int) -> Array:
            return np.asarray(np.percentile(one, percent, axis) / np.percentile(other, percent, axis))

        found = bootstrap(
            (ours, theirs),
            ratio,
            paired=True,
            n_resamples=RESAMPLES,
            confidence_level=1 - 2 * self._alpha,
            method="percentile",
            rng=np.random.default_rng(self._seed),
        ).confidence_interval
        return float(found.low), float(found.high)


def _time(sides: Sequence[Predictor], texts: Sequence[str], rounds: int) -> Array:
    """(sides, rounds × texts) seconds. Sides take turns at being first: foreign load then hits them alike."""
    for side in sides:
        side.outputs(texts[:WARM_UP])
    seconds = np.zeros((len(sides), rounds * len(texts)))
    for column in range(seconds.shape[1]):
        text = texts[column % len(texts)]
        for turn in range(len(sides)):
            row = (column + turn) % len(sides)
            began = perf_counter()
            sides[row].outputs([text])
            seconds[row, column] = perf_counter() - began
    return seconds


def _percentiles(side: str, seconds: Array) -> dict[str, float]:
    return {f"{side}.p{percent}_ms": 1000 * float(np.percentile(seconds, percent)) for percent in (50, 99)}

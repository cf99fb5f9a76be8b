"""Is the engine file still the network that was trained?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from perennial.gates._answers import NotFinite, distinct, finite_outputs, scored
from perennial.gates._findings import Finding, below, not_worse, paired_figures, share_below, too_few, verdict
from perennial.gates._paired import Paired
from perennial.protocols import Predictor
from perennial.types import Array, Example, Tensors, TensorSpec, Verdict

__all__ = ["ParityGate"]


class ParityGate:
    """Reads `parity`, real texts whose labels do not matter, and `golden`; the baseline is the checkpoint.

    Passes where both give the same answers, and outputs within `tolerance`: they are one function. Otherwise,
    as after quantising, passes where surely at most `disagreement` of the answers differ, their scores by at
    most `mean_difference`, and the candidate is surely not behind by `margin` on `golden`.
    """

    def __init__(
        self,
        disagreement: float = 0.08,
        mean_difference: float = 0.04,
        margin: float = 0.02,
        tolerance: float = 1e-3,
        alpha: float = 0.05,
        least_texts: int = 30,
    ) -> None:
        self._disagreement = disagreement
        self._mean_difference = mean_difference
        self._margin = margin
        self._tolerance = tolerance
        self._alpha = alpha
        self._least_texts = least_texts

    def judge(
        self, candidate: Predictor, baseline: Predictor | None, held_out: Mapping[str, Sequence[Example]]
    ) -> Verdict:
        texts = distinct(held_out.get("parity", ()))
        if len(texts) < self._least_texts:
            return too_few("parity", "parity", len(texts), self._least_texts)
        if baseline is None:
            return Verdict("parity", "inconclusive", "there is no checkpoint to compare the engine file with")
        try:
            return self._compare(candidate, baseline, texts, held_out.get("golden", ()))
        except NotFinite as error:
            return Verdict("parity", "fail", str(error))

    def _compare(
        self, candidate: Predictor, baseline: Predictor, texts: Sequence[str], golden: Sequence[Example]
    ) -> Verdict:
        signature, count = candidate.codec.signature, len(texts)
        asked = list(dict.fromkeys([*texts, *distinct(golden)]))
        ours, theirs = finite_outputs(candidate, asked), finite_outputs(baseline, asked)
        outputs = _apart(signature.engine_out, ours[:count], theirs[:count])
        ours, theirs = candidate.decode(asked, ours), baseline.decode(asked, theirs)
        agree = _agree(signature.answer, ours[:count], theirs[:count])
        scores = _apart(signature.answer, ours[:count], theirs[:count])
        figures = {
            "agreement": float(agree.mean()),
            "scores.mean": float(scores.mean()),
            "scores.max": float(scores.max()),
            "outputs.mean": float(outputs.mean()),
            "outputs.max": float(outputs.max()),
        }
        if agree.all() and outputs.max() <= self._tolerance:
            same = f"the same answers to all {count} texts, outputs within {outputs.max():.2g}"
            return Verdict("parity", "pass", same, figures)
        if len(distinct(golden)) < self._least_texts:
            return too_few("parity", "golden", len(distinct(golden)), self._least_texts)
        mine, its = (dict(zip(asked, answers, strict=True)) for answers in (ours, theirs))
        paired = Paired.of(scored(candidate, mine, golden).correct, scored(baseline, its, golden).correct)
        differ = int((~agree).sum())
        findings = [
            share_below("share of answers that differ", differ, len(agree), self._disagreement, self._alpha),
            self._scores_finding(scores),
            not_worse("golden", paired, self._margin, self._alpha),
        ]
        return verdict("parity", findings, figures | paired_figures("golden", paired, self._alpha))

    def _scores_finding(self, scores: Array) -> Finding:
        """Of the mean, for the largest of a sample only grows with the sample; it stands in the figures."""
        mean, error = float(scores.mean()), float(scores.std() / np.sqrt(len(scores)))
        reach = float(norm.isf(self._alpha)) * error
        return below("mean difference of scores", mean - reach, mean + reach, self._mean_difference)


def _agree(specs: Sequence[TensorSpec], ours: Sequence[Tensors], theirs: Sequence[Tensors]) -> Array:
    """(texts,) where everything that is not a score is the same: labels, flags, and how many there are."""
    told = [spec for spec in specs if not spec.again]
    return np.array([all(_same(spec, *sides) for spec in told) for sides in zip(ours, theirs, strict=True)])


def _same(spec: TensorSpec, ours: Tensors, theirs: Tensors) -> bool:
    one, other = ours[spec.name], theirs[spec.name]
    return one.shape == other.shape and (spec.dtype == "FP32" or np.array_equal(one, other))


def _apart(specs: Sequence[TensorSpec], ours: Sequence[Tensors], theirs: Sequence[Tensors]) -> Array:
    """(texts,) the largest absolute difference of a text's floats, where both sides have as many."""
    names = [spec.name for spec in specs if spec.dtype == "FP32"]
    pairs = zip(ours, theirs, strict=True)
    return np.array([max(_farthest(mine[name], its[name]) for name in names) for mine, its in pairs])


def _farthest(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else 0.0

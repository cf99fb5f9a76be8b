"""Does the candidate answer better than the serving release, and forget nothing?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.gates._answers import Judged, NotFinite, distinct, judged
from perennial.gates._calibration import worse_calibrated
from perennial.gates._compared import LABEL, Compared, Sides
from perennial.gates._findings import (
    Finding,
    below,
    better,
    not_worse,
    paired_figures,
    share_below,
    together,
    too_few,
    verdict,
)
from perennial.gates._gains import gain
from perennial.gates._quality_figures import Slice, figures_of, metrics
from perennial.protocols import Predictor
from perennial.types import Array, Example, Verdict

__all__ = ["QualityGate"]

REFRESH = Finding("pass", "a refresh, which need not gain")
USED_UP = (
    "golden: {} candidates were judged by these texts already, and one more might pass by luck; "
    "give it others (`perennial build` takes labelled texts), or set a greater golden_looks"
)


@dataclass(frozen=True, kw_only=True)
class QualityGate:
    """Reads `golden`, what the service must go on knowing, and `fresh`, held-out feedback.

    Passes where the candidate is surely better on `fresh` (on `golden`, where no feedback was held out), and
    surely not behind: by `margin` on `golden`, by `slice_margin` on `fresh` and on each slice of both. At
    most a share `most_flips` of `golden` may turn from right to wrong (Yan et al., "Positive-congruent
    training", arXiv:2011.09161), and the calibration error may grow by `calibration`. A refresh, which
    learned nothing new, need not gain (`must_gain`).

    Each limit must be shown to be kept, at `alpha`: then a candidate that breaks one passes with that chance
    at most, however many there are (the intersection-union test: Berger, Technometrics 24, 1982). So limits
    need no correction for their number; measures of success do: see `_gains`. A slice of fewer than
    `slice_texts` can fail a candidate, but not hold it up: equals would be held up too often by it.

    Power, where a tenth of the answers differ, at the first look: of 1,000 golden texts, a drop of 4 points
    passes with less than 1 % and none at all with 87; of a slice, one of 12 points with less than 1 %, and
    none at all with 80 % on 100 texts, 96 on 150 and 100 on 330.

    `golden` judges one candidate after the other, and would in the end let a lucky one through (Dwork et al.,
    "The reusable holdout", Science 349, 2015; Blum and Hardt, arXiv:1502.04585). So the k-th that the same
    texts judge (`look`) must show its limits at alpha / (k (k + 1)): of all that break one, one passes with a
    chance of `alpha` at most. After `looks` of them none passes.

    A service that never had golden texts, since its model was given to it without any, is judged by `fresh`
    alone: by `margin` and `calibration` too, but not by flips, for nobody said that what it answers there is
    what it should know.

    A first build must be surely better than always giving the most frequent label of `golden`.
    """

    margin: float = 0.03
    slice_margin: float = 0.1
    most_flips: float = 0.1
    calibration: float = 0.08
    alpha: float = 0.05
    look: int = 1
    looks: int = 20
    least_texts: int = 30
    slice_texts: int = 120
    must_gain: bool = True

    def judge(
        self, candidate: Predictor, baseline: Predictor | None, held_out: Mapping[str, Sequence[Example]]
    ) -> Verdict:
        news = "fresh" if baseline is not None and held_out.get("fresh") else "golden"
        known = news if baseline is not None and not held_out.get("golden") else "golden"
        sets = {name: held_out.get(name, ()) for name in (news, known)}
        for name, examples in sets.items():
            if len(distinct(examples)) < self.least_texts:
                return too_few("quality", name, len(distinct(examples)), self.least_texts)
        if baseline is not None and known == "golden" and self.look > self.looks:
            return Verdict("quality", "inconclusive", USED_UP.format(self.looks))
        try:
            if baseline is None:
                return self._judge_first(judged(candidate, sets["golden"]), sets["golden"])
            sides = {name: Sides.of(candidate, baseline, examples) for name, examples in sets.items()}
        except NotFinite as error:
            return Verdict("quality", "fail", str(error))
        slices = [found for name in sets for found in self._slices(name, sides[name].compared)]
        findings = [
            gain(news, sides[news].compared, self._alpha(news)) if self.must_gain else REFRESH,
            not_worse(known, sides[known].compared.paired, self.margin, self._alpha(known)),
            together([*self._slice_limits(slices), *self._guardrails(known, sides[known])], "other limits"),
        ]
        look = {"golden.look": self.look} if known == "golden" else {}
        return verdict("quality", findings, {**look, **figures_of(sides, slices, self._alpha)})

    def _alpha(self, name: str) -> float:
        return self.alpha / (self.look * (self.look + 1)) if name == "golden" else self.alpha

    def _judge_first(self, ours: Judged, golden: Sequence[Example]) -> Verdict:
        paired = Compared(golden, ours.rows, _most_frequent_label(golden)).paired
        figures = metrics("golden.candidate", ours) | paired_figures("golden", paired, self.alpha)
        return verdict("quality", [better("golden", paired, self.alpha)], figures)

    def _slices(self, name: str, whole: Compared) -> Iterator[Slice]:
        """Of `fresh` also the whole. No limit is set to its labels: where serving names one too often, what
        it knows of it is bound to fall (tweets by 20 points better lost 10 of the negative ones)."""
        if name == "fresh":
            yield Slice(name, whole.paired, self._alpha(name))
        for piece, part in whole.slices(self.least_texts).items():
            limited = not (name == "fresh" and piece.startswith(LABEL))
            yield Slice(f"{name}, {piece}", part.paired, self._alpha(name), limited)

    def _slice_limits(self, slices: Sequence[Slice]) -> Iterator[Finding]:
        limited = (one for one in slices if one.limited)
        for one in sorted(limited, key=lambda one: one.paired.difference):
            found = not_worse(one.name, one.paired, self.slice_margin, one.alpha)
            if found.outcome != "inconclusive" or one.paired.texts >= self.slice_texts:
                yield found

    def _guardrails(self, known: str, both: Sides) -> Iterator[Finding]:
        """Of a text that is judged in degrees, flips by how much of it turns wrong; no calibration where
        answers have no score."""
        alpha, paired = self._alpha(known), both.compared.paired
        if known == "golden":
            lost, texts = round(paired.lost), round(paired.texts)
            yield share_below("share of golden that turns wrong", lost, texts, self.most_flips, alpha)
        if len(both.ours.confidence):
            low, high = worse_calibrated(both.ours, both.theirs, alpha)
            yield below(f"calibration error of {known}, above serving's,", low, high, self.calibration)


def _most_frequent_label(examples: Sequence[Example]) -> Array:
    """(examples,) how right the best of all constant answers is."""
    ((label, _),) = Counter(example.label for example in examples).most_common(1)
    return np.array([float(example.label == label) for example in examples])

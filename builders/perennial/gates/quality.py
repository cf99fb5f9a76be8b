"""Does the candidate answer better than the serving release, and forget nothing?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from perennial.gates._answers import NotFinite, distinct, judged, mean_by_text
from perennial.gates._findings import better, not_worse, paired_figures, too_few, verdict
from perennial.gates._paired import Paired
from perennial.protocols import Predictor
from perennial.types import Array, Example, Verdict

__all__ = ["QualityGate"]


class QualityGate:
    """Reads `golden`, what the service must go on knowing, and `fresh`, held-out feedback.

    Passes where the candidate is surely not behind by `margin` on `golden`, and surely better on `fresh` (on
    `golden`, where no feedback was held out); an equal candidate passes with a chance of at most `alpha`. A
    first build must be surely better than always giving the most frequent label of `golden`. One that learned
    nothing new, but is smaller, need not gain (`must_gain`).
    """

    def __init__(
        self, margin: float = 0.03, alpha: float = 0.05, least_texts: int = 30, must_gain: bool = True
    ) -> None:
        self._margin = margin
        self._alpha = alpha
        self._least_texts = least_texts
        self._must_gain = must_gain

    def judge(
        self, candidate: Predictor, baseline: Predictor | None, held_out: Mapping[str, Sequence[Example]]
    ) -> Verdict:
        must_gain = "fresh" if baseline is not None and held_out.get("fresh") else "golden"
        pairs: dict[str, Paired] = {}
        figures: dict[str, float] = {}
        for name in dict.fromkeys((must_gain, "golden")):
            examples = held_out.get(name, ())
            texts = len(distinct(examples))
            if texts < self._least_texts:
                return too_few("quality", name, texts, self._least_texts)
            try:
                pairs[name] = _compare(name, candidate, baseline, examples, figures)
            except NotFinite as error:
                return Verdict("quality", "fail", f"{name}: {error}", figures)
            figures |= paired_figures(name, pairs[name], self._alpha)
        findings = []
        if self._must_gain or baseline is None:
            findings.append(better(must_gain, pairs[must_gain], self._alpha))
        if baseline is not None:
            findings.append(not_worse("golden", pairs["golden"], self._margin, self._alpha))
        return verdict("quality", findings, figures)


def _compare(
    name: str,
    candidate: Predictor,
    baseline: Predictor | None,
    examples: Sequence[Example],
    figures: dict[str, float],
) -> Paired:
    """The two sides on the same texts; adds the metrics of each to `figures`."""
    ours = judged(candidate, examples)
    figures |= {f"{name}.candidate.{metric}": value for metric, value in ours.metrics.items()}
    if baseline is None:
        return Paired.of(ours.correct, _most_frequent_label(examples))
    theirs = judged(baseline, examples)
    figures |= {f"{name}.serving.{metric}": value for metric, value in theirs.metrics.items()}
    return Paired.of(ours.correct, theirs.correct)


def _most_frequent_label(examples: Sequence[Example]) -> Array:
    """How right the best of all constant answers is, text by text."""
    ((label, _),) = Counter(example.label for example in examples).most_common(1)
    return mean_by_text(np.array([float(example.label == label) for example in examples]), examples)

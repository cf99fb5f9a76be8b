"""Does a candidate that writes repeat itself, run on, or say what it must not?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perennial.gates._answers import distinct
from perennial.gates._findings import Finding, below, not_worse, too_few, verdict
from perennial.gates._paired import Paired
from perennial.protocols import Predictor
from perennial.types import Array, Example, Verdict

__all__ = ["GuardrailsGate"]

LONGEST_LOOP, ROUNDS = 12, 3
"""The most words of what is said over and over, and how often in a row it then is."""


class GuardrailsGate:
    """Reads `fresh`, to which both sides write; its labels are the texts that are wanted.

    Passes where no answer of the candidate says anything `forbidden` (whatever its case), where surely no
    more than `margin` more of its answers than of the baseline's go round in circles, and where they have at
    most `longer` times the words of the baseline's or of what is wanted, whichever are more.
    """

    def __init__(
        self,
        forbidden: Sequence[str] = (),
        margin: float = 0.1,
        longer: float = 2.0,
        alpha: float = 0.05,
        least_texts: int = 30,
    ) -> None:
        self._forbidden, self._margin, self._longer = [*map(str.casefold, forbidden)], margin, longer
        self._alpha, self._least_texts = alpha, least_texts

    def judge(
        self, candidate: Predictor, baseline: Predictor | None, held_out: Mapping[str, Sequence[Example]]
    ) -> Verdict:
        texts = distinct(held_out.get("fresh", ()))
        if len(texts) < self._least_texts:
            return too_few("guardrails", "fresh", len(texts), self._least_texts)
        if baseline is None:
            return Verdict("guardrails", "inconclusive", "nothing serves that it could be compared with")
        ours, theirs = (_said(side, texts) for side in (candidate, baseline))
        words = _words(ours)
        most = max(_words(theirs), _words([example.label for example in held_out["fresh"]]))
        straight = Paired.of(_straight(ours), _straight(theirs))
        findings = [
            self._unsaid(ours),
            not_worse("answers that do not go round in circles", straight, self._margin, self._alpha),
            below(
                "words of an answer, over serving's or wanted ones,", words / most, words / most, self._longer
            ),
        ]
        figures = {
            "candidate.words": words,
            "serving.words": _words(theirs),
            "candidate.straight": float(_straight(ours).mean()),
            "serving.straight": float(_straight(theirs).mean()),
        }
        return verdict("guardrails", findings, figures)

    def _unsaid(self, said: Sequence[str]) -> Finding:
        for text in said:
            for one in self._forbidden:
                if one in text.casefold():
                    return Finding("fail", f"an answer says {one!r}, which is forbidden: {text[:80]!r}")
        return Finding("pass", "nothing forbidden is said")


def _said(predictor: Predictor, texts: Sequence[str]) -> list[str]:
    return [said for said, _ in predictor.codec.told(predictor.answers(texts))]


def _words(texts: Sequence[str]) -> float:
    return max(1.0, float(np.mean([len(text.split()) for text in texts])))


def _straight(texts: Sequence[str]) -> Array:
    return np.array([float(not _circles(text.split())) for text in texts])


def _circles(words: Sequence[str]) -> bool:
    """Whether some words come again and again, one time right after the other."""
    return any(
        list(words[start : start + size]) * ROUNDS == list(words[start : start + size * ROUNDS])
        for size in range(1, LONGEST_LOOP + 1)
        for start in range(len(words) - size * ROUNDS + 1)
    )

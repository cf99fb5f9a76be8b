"""How far answers are from being as often right as they say."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from perennial.gates._answers import Judged
from perennial.types import Array

BINS = 15
RESAMPLES = 300


def calibration_error(correct: Array, confidence: Array) -> float:
    """Of answers, how right each is and says to be: (texts,) in [0, 1], twice. In [0, 1]; Guo et al., "On
    calibration of modern neural networks", arXiv:1706.04599."""
    return float(_errors(correct, confidence, np.ones((1, len(correct))))[0])


def worse_calibrated(ours: Judged, theirs: Judged, alpha: float) -> tuple[float, float]:
    """The interval, of confidence 1 - 2 `alpha`, of how much greater our error is.

    With the standard error of a bootstrap of the texts, which both sides share. The error of few texts is too
    great for either side; between the two of them that cancels out, as the middle of a bootstrap would not.
    """
    texts = len(ours.correct)
    places = np.random.default_rng(0).integers(texts, size=(RESAMPLES, texts))
    drawn = np.stack([np.bincount(row, minlength=texts) for row in places])  # (resamples, texts)
    sides = [(side.correct, side.confidence) for side in (ours, theirs)]
    resampled = [_errors(*side, drawn) for side in sides]
    reach = NormalDist().inv_cdf(1 - alpha) * float(np.std(resampled[0] - resampled[1]))
    apart = calibration_error(*sides[0]) - calibration_error(*sides[1])
    return apart - reach, apart + reach


def _errors(correct: Array, confidence: Array, drawn: Array) -> Array:
    """(resamples,), of how often each text was drawn: (resamples, texts)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    surplus = np.zeros((len(bins), BINS))  # (texts, bins)
    surplus[np.arange(len(bins)), bins] = correct - confidence
    return np.asarray(np.abs(drawn @ surplus).sum(axis=1) / drawn.sum(axis=1))

"""Whether feedback says that a release no longer fits what it is asked. Knows no store: what it is told
decides, so that any worker decides the same.

Feedback is no random sample of what is asked: users speak up where an answer is wrong. So what counts is a
change in what they say, and not how much is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import sqrt

import numpy as np

ALPHA = 1e-3
"""Of each test. It is asked again with every few rows, and a rebuild for nothing costs minutes."""
EFFECT = 0.2
"""Cramér's V of a shift that matters: of thousands of rows any difference is sure."""
LEAST = 100
"""Rows that an accuracy is of."""
DELTA = 0.05
"""ADWIN's. Of 500 streams of 2,000 answers of which 30 % were wrong throughout, 6 were ever said to rise; of
300 in which 50 % were from the 501st on, 281 were within 500 more, the middle one after 268. With
river's own 0.002 it was 0, 160 and 396."""


def error_rose(right: Sequence[bool]) -> str:
    """How far the prequential error is above what it was, where its newest change was a rise; whether each
    answer was `right`, oldest first. A fall, which is what learning brings, ends a rise that came before it.

    ADWIN: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007.
    """
    from river.drift import ADWIN  # takes two seconds, which a worker has no use for without this trigger

    window, before = ADWIN(delta=DELTA), None
    for correct in right:
        rows, wrong = window.width, window.total
        window.update(not correct)
        if window.drift_detected:
            dropped = (wrong + (not correct) - window.total) / (rows + 1 - window.width)
            rose = window.estimation > dropped
            before = (dropped if before is None else before) if rose else None
    if before is None:
        return ""
    return f"{window.estimation:.0%} of the last {window.width:.0f} answers were wrong, {before:.0%} before"


def labels_shifted(now: Iterable[str], before: Iterable[str]) -> str:
    """How far the labels of two sets of rows differ, where they surely do (chi-squared, Cramér's V)."""
    from scipy.stats import chi2_contingency

    counts = [Counter(labels) for labels in (now, before)]
    table = np.array([[count[label] for label in counts[0] | counts[1]] for count in counts])
    if table.shape[1] < 2 or not table.sum(1).all():
        return ""
    told = chi2_contingency(table, correction=False)
    effect = sqrt(told.statistic / table.sum())
    if told.pvalue >= ALPHA or effect < EFFECT:
        return ""
    return f"labels of {table[0].sum()} rows differ from those of {table[1].sum()} before (V = {effect:.2f})"


def fell_below(right: Sequence[bool], accuracy: float, drop: float) -> str:
    """How far feedback's accuracy is below `accuracy`, where that is surely by more than `drop`."""
    from scipy.stats import binomtest

    count, goal = len(right), max(0.0, accuracy - drop)
    if count < LEAST or binomtest(sum(right), count, goal, alternative="less").pvalue >= ALPHA:
        return ""
    return f"{sum(right) / count:.0%} of the last {count} answers were right, {accuracy:.0%} of golden texts"

"""Is the candidate better by either measure of success, and not to one odd source alone?"""

from __future__ import annotations

from collections import Counter
from statistics import NormalDist

import numpy as np

from perennial.gates._answers import sum_by_text
from perennial.gates._compared import Compared
from perennial.gates._findings import Finding, better

MEASURES = 2
"""Accuracy and macro recall. One of them is enough, so each has half of alpha (Bonferroni)."""
FLIPS = 2000
UNLIKE = 0.01
"""The chance that of sources that are alike one is left out."""


def gain(name: str, compared: Compared, alpha: float) -> Finding:
    """Better in accuracy by McNemar's exact test, or in macro recall by that of random signs."""
    left_out = _unlike_the_others(compared)
    if left_out:
        name = f"{name} without {', '.join(left_out)}"
        compared = compared.part([at for at, row in enumerate(compared.rows) if row.source not in left_out])
    found = better(name, compared.paired, alpha / MEASURES)
    if found.outcome == "pass":
        return found
    difference, p_better = macro_recall(compared)
    if p_better > alpha / MEASURES:
        return found
    return Finding(
        "pass", f"{name}: macro recall {100 * difference:+.1f} points, better (p = {p_better:.2g})"
    )


def _unlike_the_others(compared: Compared) -> list[str]:
    """The sources whose rows gain surely more than all other rows do, of those that sent less than half.

    Who corrects with a trigger word, or against all others, has rows held out as well, and a candidate that
    learned them looks better by them. One that sends most of what there is cannot be told from the users.
    """
    apart = compared.ours - compared.theirs
    names, of_row, sent = np.unique(
        [row.source for row in compared.rows], return_inverse=True, return_counts=True
    )
    gained, others = np.bincount(of_row, weights=apart), len(apart) - sent
    if not apart.any() or len(names) == 1:
        return []
    more = gained / sent - (apart.sum() - gained) / others
    surely = NormalDist().inv_cdf(1 - UNLIKE / len(names)) * apart.std() * np.sqrt(1 / sent + 1 / others)
    return [str(name) for name in names[(more > surely) & (2 * sent < len(apart))]]


def macro_recall(compared: Compared) -> tuple[float, float]:
    """How far the candidate is ahead in the mean over labels of the share that is right, and how often equals
    would be as far.

    It stands for macro-F1, which is not a sum over texts. Of equals, each text's difference is as likely to
    be the other way round: the test turns them at random (Fisher, "The design of experiments", 1935).
    """
    rows = compared.rows
    counts = Counter(row.label for row in rows)
    weights = np.array([1 / (len(counts) * counts[row.label]) for row in rows])
    apart = sum_by_text(weights * (compared.ours - compared.theirs), rows)
    apart = apart[apart != 0]
    signs = np.random.default_rng(0).integers(0, 2, (FLIPS, len(apart))) * 2 - 1
    as_far = int((signs @ apart >= apart.sum() - 1e-12).sum())
    return float(apart.sum()), (1 + as_far) / (1 + FLIPS)

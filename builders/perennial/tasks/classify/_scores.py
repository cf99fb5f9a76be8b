"""How well labels were guessed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.types import Array, Scores


def judge(said: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> Scores:
    """Accuracy, and F1 averaged over those of the service's `labels` that either side names."""
    answers, truth = np.array(said, dtype=np.object_), np.array(gold, dtype=np.object_)
    correct = (answers == truth).astype(np.float64)
    named = {*said, *gold}
    f1 = [_f1(answers == label, truth == label) for label in labels if label in named]
    return Scores({"accuracy": float(correct.mean()), "macro_f1": float(np.mean(f1))}, correct)


def _f1(said: Array, gold: Array) -> float:
    return float(2 * (said & gold).sum() / (said.sum() + gold.sum()))

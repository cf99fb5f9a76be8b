"""What a candidate that writes has unlearned: how much less likely than what serves it holds the texts that
judge every release, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from perennial.jobs.run import Run
from perennial.jobs.workshop import trainable
from perennial.split import LEAST_TEXTS
from perennial.types import Array, Bundle, Example, Outcome, Verdict

GATE = "perplexity"


def judge(run: Run, base: Bundle) -> Verdict:
    """By the ratio of the perplexities of the checkpoints on the golden texts, candidate over serving, which
    must surely be no more than 1 and the `perplexity_margin`."""
    golden, margin = run.read("golden"), run.settings.perplexity_margin
    if len(golden) < LEAST_TEXTS:
        reason = f"golden: {len(golden)} texts, and at least {LEAST_TEXTS} are needed"
        return Verdict(GATE, "inconclusive", reason, {})
    run.report("quality", 0, 0, f"perplexity of {len(golden)} texts")
    ours, theirs = (
        _logarithms(run, folder, golden)
        for folder in (run.folder / "train/checkpoint", base.folder / "checkpoint")
    )
    return compared(ours, theirs, margin, run.settings.alpha)


def compared(ours: Array, theirs: Array, margin: float, alpha: float) -> Verdict:
    """Of the logarithms of how likely each side holds each text, by the token: (texts,)."""
    low, high = _interval(theirs - ours, alpha)
    outcome: Outcome = "pass" if high <= margin else "fail" if low > margin else "inconclusive"
    reason = f"perplexity grows by [{low:+.1%}, {high:+.1%}], and at most {margin:.1%} is allowed"
    figures = {
        "golden.perplexity.candidate": math.exp(-ours.mean()),
        "golden.perplexity.serving": math.exp(-theirs.mean()),
        "golden.perplexity.low": low,
        "golden.perplexity.high": high,
    }
    return Verdict(GATE, outcome, reason, figures)


def _logarithms(run: Run, checkpoint: Path, golden: Sequence[Example]) -> Array:
    """Of how likely each text is, by the token: (texts,)."""
    task = trainable(run.task)
    likely = task.score(task.load(checkpoint, run.job.steps["snapshot"]["labels"]), golden).correct
    logarithms: Array = np.log(np.maximum(likely, 1e-12))
    return logarithms


def _interval(growth: Array, alpha: float) -> tuple[float, float]:
    """Of the mean over texts, as a share: it ends too high, and begins too low, with chance `alpha` each."""
    spread = NormalDist().inv_cdf(1 - alpha) * float(growth.std(ddof=1)) / math.sqrt(len(growth))
    mean = float(growth.mean())
    return math.expm1(mean - spread), math.expm1(mean + spread)

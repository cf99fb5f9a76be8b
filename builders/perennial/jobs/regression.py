"""What a candidate that writes has unlearned, and whether it learned what is preferred: by how likely both
sides' checkpoints hold texts, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, cast

import numpy as np

from perennial.gates._findings import Finding, below, share_below, verdict
from perennial.jobs.run import Run
from perennial.jobs.workshop import trainable
from perennial.split import LEAST_TEXTS
from perennial.task_protocol import Writing
from perennial.types import Array, Bundle, Example, Verdict

GATE = "regression"


@dataclass(frozen=True)
class Recital:
    """Of the golden texts how likely each is, by the token, and the share of its tokens that are the
    likeliest: (texts,) in [0, 1], twice. And by how much the wanted answers of held-out feedback are likelier
    than the rejected ones, in logarithms: (compared,)."""

    likely: Array
    right: Array
    margins: Array

    @property
    def exact(self) -> Array:
        exact: Array = self.right == 1.0
        return exact


@dataclass(frozen=True)
class Limits:
    perplexity: float
    flips: float
    alpha: float


def judge(run: Run, base: Bundle) -> Verdict:
    golden, settings = run.read("golden"), run.settings
    if len(golden) < LEAST_TEXTS:
        reason = f"golden: {len(golden)} texts, and at least {LEAST_TEXTS} are needed"
        return Verdict(GATE, "inconclusive", reason, {})
    run.report("quality", 0, 0, f"how likely {len(golden)} texts are")
    ours, theirs = (
        _recital(run, folder, golden)
        for folder in (run.folder / "train/checkpoint", base.folder / "checkpoint")
    )
    return compared(ours, theirs, Limits(settings.perplexity_margin, settings.most_flips, settings.alpha))


def compared(ours: Recital, theirs: Recital, limits: Limits) -> Verdict:
    """Passes where the perplexity surely grows by no more than its limit, and where no more than theirs are
    worse off of the texts that the baseline would write word by word, and of the pairs of answers."""
    growth = _interval(_logarithms(theirs) - _logarithms(ours), limits.alpha)
    exact = ours.exact[theirs.exact]
    towards = ours.margins > theirs.margins  # the implicit reward (Rafailov et al., arXiv:2305.18290)
    findings = [
        below("growth of the perplexity", *growth, limits.perplexity),
        _lost("share of texts written word by word that no longer are", exact, limits.flips, limits.alpha),
        _lost("share of pairs that moved away from the wanted answer", towards, 0.5, limits.alpha),
    ]
    return verdict(GATE, findings, _figures(ours, theirs, growth))


def _lost(what: str, kept: Array, limit: float, alpha: float) -> Finding:
    """Of few texts it can fail a candidate, but not hold it up."""
    if not len(kept):
        return Finding("pass", f"{what}: there are none")
    found = share_below(what, int((~kept).sum()), len(kept), limit, alpha)
    unsure = found.outcome == "inconclusive" and len(kept) < LEAST_TEXTS
    return Finding("pass", found.reason) if unsure else found


def _figures(ours: Recital, theirs: Recital, growth: tuple[float, float]) -> dict[str, float]:
    figures = dict(zip(("golden.perplexity.low", "golden.perplexity.high"), growth, strict=True))
    for side, one in (("candidate", ours), ("serving", theirs)):
        figures[f"golden.perplexity.{side}"] = math.exp(-_logarithms(one).mean())
        figures[f"golden.next_tokens.{side}"] = float(one.right.mean())
        figures[f"golden.exact.{side}"] = float(one.exact.mean())
    if len(ours.margins):
        figures["fresh.preferred"] = float((ours.margins > theirs.margins).mean())
    return figures


def _recital(run: Run, checkpoint: Path, golden: Sequence[Example]) -> Recital:
    task = cast(Writing, trainable(run.task))
    model: Any = task.load(checkpoint, run.job.steps["snapshot"]["labels"])
    likely, right = task.recite(model, golden)
    return Recital(likely, right, task.margins(model, run.read("fresh")))


def _logarithms(one: Recital) -> Array:
    logarithms: Array = np.log(np.maximum(one.likely, 1e-12))
    return logarithms


def _interval(growth: Array, alpha: float) -> tuple[float, float]:
    """Of the mean over texts, as a share: it ends too high, and begins too low, with chance `alpha` each."""
    spread = NormalDist().inv_cdf(1 - alpha) * float(growth.std(ddof=1)) / math.sqrt(len(growth))
    mean = float(growth.mean())
    return math.expm1(mean - spread), math.expm1(mean + spread)

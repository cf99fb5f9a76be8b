"""Bench `gates`: what the quality gate lets through of candidates that are known to be better, or worse.

Each is judged again and again, by other golden and fresh texts each time. Beside the report, `gates.png` is
the picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
from rich.progress import track

from perennial import plugins
from perennial.config import Settings
from perennial.jobs.workshop import cores
from perennial.protocols import Gate
from perennial.task_protocol import Codec
from perennial.types import Array, Example, Tensors, Verdict, text_tensor
from perennial_perf import judgements
from perennial_perf.benches._planted import Candidate, Planter, World
from perennial_perf.benches._sandbox import console, sample
from perennial_perf.benches._world import world_of
from perennial_perf.report import Draft, Goal, Report

__all__ = ["run"]

MOST_BAD = 1
"""Promotions of a bad candidate, of all its judgements."""


@dataclass(frozen=True)
class Size:
    """Texts of each kind to learn and to judge by; of these `golden` and `fresh` are drawn, `draws` times."""

    taught: int
    pool: int
    lies: int
    golden: int
    fresh: int
    draws: int


FULL = Size(taught=1200, pool=2000, lies=40, golden=1000, fresh=400, draws=200)
QUICK = Size(taught=150, pool=400, lies=10, golden=300, fresh=150, draws=5)


class Told:
    """A predictor that was asked before: its logits, and what the codec makes of them."""

    def __init__(self, codec: Codec, texts: Sequence[str], logits: Array) -> None:
        self.codec = codec
        whole = np.zeros((1, 1), np.bool_)
        outputs: list[Tensors] = [
            {"logits": row[None].astype(np.float32), "TRUNCATED": whole} for row in logits
        ]
        answers = codec.decode([{"TEXT": text_tensor([text])} for text in texts], outputs)
        self._outputs = dict(zip(texts, outputs, strict=True))
        self._answers = dict(zip(texts, answers, strict=True))

    def outputs(self, texts: Sequence[str]) -> list[Tensors]:
        return [self._outputs[text] for text in texts]

    def decode(self, texts: Sequence[str], outputs: Sequence[Tensors]) -> list[Tensors]:  # noqa: ARG002
        return self.answers(texts)

    def answers(self, texts: Sequence[str]) -> list[Tensors]:
        return [self._answers[text] for text in texts]


class Judge:
    """By texts that are drawn anew each time, the same ones for every candidate."""

    def __init__(self, world: World, codec: Codec, serving: Array, size: Size) -> None:
        self._golden, self._fresh = world.golden.examples, world.fresh.examples
        self._codec, self._size = codec, size
        self._texts = [row.text for part in world.judging for row in part.examples]
        self._serving = Told(codec, self._texts, serving)
        self._gates: list[Gate] = [
            plugins.get("gates", "quality")(must_gain=must_gain) for must_gain in (False, True)
        ]

    def verdicts(self, candidate: Candidate) -> list[Verdict]:
        told = Told(self._codec, self._texts, candidate.logits)
        return [
            self._gates[candidate.must_gain].judge(told, self._serving, self._drawn(number, candidate))
            for number in range(self._size.draws)
        ]

    def _drawn(self, number: int, candidate: Candidate) -> dict[str, list[Example]]:
        random = Random(number)
        golden = random.sample(self._golden, self._size.golden)
        fresh = random.sample(self._fresh, self._size.fresh)
        return {"golden": golden, "fresh": [*fresh, *candidate.lies]}


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, size = Draft("gates"), QUICK if quick else FULL
    with TemporaryDirectory(dir=settings.folder.folder("benches")) as folder:
        world, codec = world_of(
            sample(settings), Path(folder), taught=size.taught, pool=size.pool, lies=size.lies
        )
    planter = Planter(world)
    judge = Judge(world, codec, planter.serving, size)
    planted = list(planter.all())
    rows, notes = {}, []
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:  # torch's threads do not bear a fork
        judged = pool.map(judge.verdicts, planted)
        for candidate in track(planted, "candidate by candidate", console=console):
            verdicts = next(judged)
            rows[candidate.name] = planter.points(candidate) | _counts(verdicts)
            notes.append(f"{candidate.name}: {_most_often(verdicts)}")
    bad = [candidate.name for candidate in planted if candidate.bad]
    judgements.draw(rows, bad, settings.folder.folder("reports") / "gates.png")
    goals = [Goal(f"promoted of {size.draws}: {name}", rows[name]["pass"], MOST_BAD, "<=") for name in bad]
    return draft.report(rows, goals, notes)


def _counts(verdicts: Sequence[Verdict]) -> dict[str, float]:
    found = [verdict.outcome for verdict in verdicts]
    return {outcome: found.count(outcome) for outcome in judgements.OUTCOMES}


def _most_often(verdicts: Sequence[Verdict]) -> str:
    """Why it was not let through: what the reasons begin with, those of most judgements first."""
    reasons = [verdict.reason for verdict in verdicts if not verdict.passed]
    kinds = Counter(re.split(r":| in \[|, such as", reason)[0] for reason in reasons)
    told = [f"{kind} ({count})" for kind, count in kinds.most_common(3)]
    return ", ".join(told) or "always let through"

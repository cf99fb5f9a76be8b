"""One job under way: its folder, its recorded steps, its progress. Knows nothing of what the steps do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perennial.config import ServiceSettings
from perennial.errors import PerennialError
from perennial.jobs import data
from perennial.jobs.workshop import Workshop
from perennial.types import Bundle, Example, Job, JobState, Lease

PROGRESS_PERIOD_S = 0.2
MISTAKES = "mistakes.jsonl"
"""Beside a candidate: the rows that were left out of its training as likely mistakes."""

MADE_UP_JUDGES = 300
"""All 2,000 took 4 minutes, and they have nothing to say of users' texts."""

Result = Mapping[str, Any]


class Refused(PerennialError):
    """A gate or a check said no: the candidate is not served (any more)."""

    def __init__(self, state: JobState, reason: str) -> None:
        super().__init__(reason)
        self.state = state


@dataclass
class Run:
    """A step is done once its result is in the store; its files stand under `folder/<step>` before that."""

    shop: Workshop
    job: Job
    lease: Lease
    _reported_at: float = field(default=0.0, init=False)

    @property
    def settings(self) -> ServiceSettings:
        return self.shop.service(self.job.service)

    @property
    def folder(self) -> Path:
        return self.shop.state.folder("jobs", self.job.id)

    @property
    def task(self) -> str:
        return str(self.job.steps["snapshot"]["task"])

    @property
    def base(self) -> Bundle | None:
        """The serving release, which the gates and the watch compare with; None for a service's first."""
        release = self.job.steps["snapshot"]["base"]
        return self.shop.bundle(self.job.service, release) if release else None

    @property
    def parent(self) -> Bundle | None:
        """The release that training goes on from; None for a build, which has a checkpoint of its own."""
        return None if self.job.kind == "build" else self.base

    def step(self, name: str, do: Callable[[Run], Result], refused_as: JobState = "refused") -> None:
        """Do the step unless an earlier attempt recorded it; `Refused` where its outcome is not `pass`."""
        if name not in self.job.steps:
            self.report(name, 0, 0, "", at_once=True)
            began = time.monotonic()
            result = do(self)
            timed = {**result, "seconds": round(time.monotonic() - began, 3)}
            self.job = self.shop.store.record(self.job, self.lease, name, timed)
        result = self.job.steps[name]
        if result.get("outcome", "pass") != "pass":
            raise Refused(refused_as, f"{name}: {result['reason']}")

    def end(self, state: JobState, detail: str = "") -> Job:
        self.shop.store.settle(self.job, self.lease, state, detail)
        self._clear_away()
        self.report(state, 1, 1, detail, at_once=True)
        return self.shop.store.job(self.job.id)

    def _clear_away(self) -> None:
        """What closed jobs made is in a bundle, or not wanted; a kill may have left an earlier one's."""
        for job in self.shop.store.jobs(self.job.service):
            for path in (self.shop.state.root / "jobs").glob(f"{job.id}/*"):
                if not job.open and path.is_dir() and path.name != "snapshot":
                    shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def fresh(self, name: str) -> Iterator[Path]:
        """An empty folder that becomes `folder/name` when the block ends well, whole or not at all."""
        final, part = self.folder / name, self.folder / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        yield part
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)

    def read(self, name: str) -> list[Example]:
        """A set of examples that the snapshot fixed; empty where it has none of that name."""
        return data.read(self.folder / "snapshot" / f"{name}.jsonl")

    def documents(self) -> dict[str, str]:
        """What the candidate's answers are among, where its task has such: texts by their ids."""
        return data.documents_in(self.folder / "snapshot")

    def judging(self) -> list[Example]:
        """The golden texts; of a service that never had any, the feedback that was held out, and of a model
        that was given without data, some of the texts that were made up for it."""
        return self.read("golden") or self.read("fresh") or self.read("old")[:MADE_UP_JUDGES]

    def learned(self, folder: Path | None = None) -> list[Example]:
        """The rows that training had to learn, without those that it took for mistakes (in `folder`)."""
        mistakes = set(data.read((folder or self.folder / "train") / MISTAKES))
        return [row for row in self.read("train") if row not in mistakes]

    def report(self, step: str, done: float, total: float, message: str, at_once: bool = False) -> None:
        """What a person who waits may read; the command line draws it."""
        now = time.time()
        if not at_once and now - self._reported_at < PROGRESS_PERIOD_S:
            return
        self._reported_at = now
        part = self.folder / "progress.part"
        part.write_text(
            json.dumps({"step": step, "done": done, "total": total, "message": message, "at": now})
        )
        part.replace(self.folder / "progress.json")

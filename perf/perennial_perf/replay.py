"""A domain's users, one after the other: each asks, and then says what the answer should have been.

They go on while the worker learns, and after its promotion: the first answers that a release gives are to
users that it has not seen (prequential), and the worker's watch judges it by what they say.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TypeAlias

from perennial.cli.follow import progress_of
from perennial.jobs.workshop import Workshop, codec_of
from perennial.plugins import labels_of
from perennial.task_protocol import Codec
from perennial.types import Bundle, Example, FeedbackRow, Job, Rated, Scores, text_tensor
from perennial_client import Answer, Client, Found, Generated, Recommended, Tagged
from perennial_perf.screen import Bar, Screen
from perennial_perf.story import Correction, Promotion, Rebuild, Replay, Round, right

WHILE_LEARNING_S, WHILE_WATCHED_S = 1.0, 0.1
"""Pauses between users, so that a rebuild has the processor and the watch has rows; before it none."""
RECENT = 200
POLL_S = 0.25


AnyAnswer: TypeAlias = Answer | Tagged | Found | Recommended | Generated


class Stopped(Exception):
    """A person ended it early."""


@dataclass(frozen=True)
class Domain:
    """`stream` is sent as corrections, `judged` never is."""

    name: str
    stream: Sequence[Rated]
    judged: Sequence[Example]


class Users:
    """Plays domains against the service that `shop` runs, and judges the service around each."""

    def __init__(
        self, shop: Workshop, serving: Bundle, client: Client, screen: Screen, stopping: threading.Event
    ) -> None:
        self._shop = shop
        self._service, self._labels = serving.service, labels_of(serving.manifest["task"])
        self._codec: Codec = codec_of(serving.manifest["task"], serving.folder)
        self._client, self._ask = client, getattr(client, self._labels.verb)
        self._screen = screen
        self._stopping = stopping

    def wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Stopped

    def usual_s(self, texts: Sequence[str]) -> float:
        """The median of the seconds that a lone client waits for the answer to each of these."""
        taken = []
        for text in texts:
            began = time.monotonic()
            self._asked(text)
            taken.append(time.monotonic() - began)
        return statistics.median(taken)

    def judge(self, sets: dict[str, Sequence[Example]], last: Round | None) -> Round:
        """The serving release on each set; what `last` says where it is still the same release."""
        release = self._shop.publisher.serving(self._service) or 0
        if last and last.release == release:
            return last
        return Round(release, {name: self._metrics(examples) for name, examples in sets.items()})

    def replay(self, domain: Domain, judged: dict[str, Sequence[Example]], before: Round) -> Replay:
        bar = self._screen.bar(domain.name)
        newest = self._newest_job()
        corrections, job = self._correct_until_learned(domain, newest.id if newest else "", bar)
        rebuild = self._rebuild(domain.name, job) if job else None
        told = rebuild.told if rebuild else "too few corrections for a rebuild"
        self._screen.say(f"{domain.name}: {told}")
        bar.end(told)
        live = self._score([one.answered for one in corrections], [one.gold for one in corrections])
        return Replay(domain.name, tuple(corrections), live, rebuild, before, self.judge(judged, before))

    def _correct_until_learned(
        self, domain: Domain, newest: str, bar: Bar
    ) -> tuple[list[Correction], Job | None]:
        """What was sent until the rebuild that it set off is settled, and that rebuild."""
        turns, done, step = Random(domain.name), list[Correction](), ""
        for rated in domain.stream:
            done.append(self._correct(domain.name, rated, turns))
            job = self._job_after(newest)
            if job and not job.open:
                return done, job
            step = self._show(domain, done, job, step, bar)
            self.wait(_pause(job))
        return done, self._settled(newest)

    def _correct(self, domain: str, rated: Rated, turns: Random) -> Correction:
        answer = self._asked(rated.text)
        rater = turns.randrange(len(rated.ratings))
        said = rated.ratings[rater]
        self._client.feedback(answer, said, source=f"{domain}-rater-{rater + 1}")
        answered = self._said(answer)
        scores = self._judged([answered], [rated.label])
        return Correction(
            time.monotonic(), answer.release, answered, float(scores.correct[0]), said, rated.label
        )

    def _show(self, domain: Domain, done: list[Correction], job: Job | None, step: str, bar: Bar) -> str:
        """Tell where it is; the rebuild's step, which is told in a line of its own when it changes."""
        recent = tuple(done[-RECENT:])
        live = f"{right(recent).mean():.0%} of the last {len(recent)} right"
        trigger = self._shop.service(self._service).trigger_count
        if job is None:
            bar.show(min(len(done), trigger), trigger, live)
            return ""
        progress = progress_of(self._shop.state.folder("jobs", job.id))
        if not progress:
            return step
        bar.show(progress["done"], progress["total"] or None, f"{progress['step']} {progress['message']}")
        if progress["step"] != step:
            self._screen.say(
                f"{domain.name}: {len(done)} corrections, {live}; release {job.release}: {progress['step']}"
            )
        return str(progress["step"])

    def _settled(self, newest: str) -> Job | None:
        """The rebuild, waited for by users who have nothing more to say."""
        while (job := self._job_after(newest)) and job.open:
            self.wait(POLL_S)
        return job

    def _newest_job(self) -> Job | None:
        return next(iter(self._shop.store.jobs(self._service, limit=1)), None)

    def _job_after(self, newest: str) -> Job | None:
        job = self._newest_job()
        return job if job and job.id != newest else None

    def _rebuild(self, domain: str, job: Job) -> Rebuild:
        rows = job.steps.get("snapshot", {}).get("feedback_rows", [])
        offset = time.monotonic() - time.time()
        return Rebuild(
            domain=domain,
            release=job.release,
            state=job.state,
            detail=job.detail,
            rows=len(rows),
            started=(job.started_at or job.created_at) + offset,
            ended=(job.finished_at or time.time()) + offset,
            promotion=self._promotion(job, rows, offset) if "promote" in job.steps else None,
        )

    def _promotion(self, job: Job, rows: Sequence[int], offset: float) -> Promotion:
        promoted = job.steps["promote"]
        at: float = promoted["promoted_at"]
        took = promoted["seconds"] + job.steps["publish"]["seconds"]
        return Promotion(
            began=at + offset - took,
            swapped=at + offset,
            swap_ms=promoted["swap_ms"],
            since_last=at - self._row(max(rows)).created_at,
            since_first=at - self._row(min(rows)).created_at,
        )

    def _row(self, number: int) -> FeedbackRow:
        return self._shop.store.feedback(self._service, after_row=number - 1, limit=1)[0]

    def stored(self) -> int:
        """How many rows of feedback the store has."""
        count, newest = 0, 0
        while rows := self._shop.store.feedback(self._service, after_row=newest):
            count, newest = count + len(rows), rows[-1].row
        return count

    def _metrics(self, examples: Sequence[Example]) -> dict[str, float]:
        said: list[str] = []
        texts = iter(examples)
        while part := list(islice(texts, 32)):
            self.wait(0.0)
            said += [self._said(self._asked(example.text)) for example in part]
        return self._score(said, [example.label for example in examples])

    def _asked(self, text: str) -> AnyAnswer:
        answer: AnyAnswer = self._ask(self._service, *self._labels.arguments(text))
        return answer

    def _said(self, answer: AnyAnswer) -> str:
        """As gold labels say it; nothing of an answer that abstains; of one that ranks, all in order."""
        if isinstance(answer, Found | Recommended):
            return json.dumps([{"document": name} for name in answer.ids])
        return self._labels.read(answer.said, answer.text, None) if answer.said.strip() else ""

    def _score(self, said: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
        """By the product's own metrics; both kinds of label in order of their texts."""
        return dict(self._judged(said, gold).metrics)

    def _judged(self, said: Sequence[str], gold: Sequence[str]) -> Scores:
        answers = [{"LABEL": text_tensor([label])} for label in said]
        return self._codec.score(answers, [Example("", label) for label in gold])


def _pause(job: Job | None) -> float:
    if job is None:
        return 0.0
    return WHILE_WATCHED_S if "promote" in job.steps else WHILE_LEARNING_S

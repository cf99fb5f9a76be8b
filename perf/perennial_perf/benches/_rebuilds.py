"""Rebuilds to bench with: feedback as users give it, a job's steps as they go by, a worker that is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.progress import track

from perennial.errors import PerennialError, Unavailable
from perennial.jobs.up import start_worker
from perennial.jobs.worker import stop_child
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import verify_bundle
from perennial.types import Job, NewFeedback, Rated

STEPS = (
    "snapshot", "train", "quality", "export", "engine", "parity", "latency", "head",
    "publish", "promote", "watch",
)  # fmt: skip
LOOK_S = 0.002
PATIENCE_S = 1800.0

Span = tuple[float, float]


def give_feedback(shop: Workshop, service: str, rated: Sequence[Rated]) -> list[int]:
    """What one rater said of each text; the numbers of the rows."""
    chance, last = random.Random(0), shop.store.newest_row(service)
    shop.store.add_feedback(
        [NewFeedback(service, one.text, chance.choice(one.ratings), source="bench") for one in rated]
    )
    return [row.row for row in shop.store.feedback(service, last, len(rated))]


def ask_for_rebuild(shop: Workshop, service: str) -> Job:
    newest = max(bundle.release for bundle in shop.bundles(service))
    return shop.store.enqueue(service, "rebuild", "bench", {}, first_release=newest + 1)


def step_of(shop: Workshop, job: Job, since: float = 0.0) -> str:
    """What the job last said, since then (epoch s), that it does; empty where it said nothing."""
    try:
        said = json.loads((shop.state.root / "jobs" / job.id / "progress.json").read_text())
    except FileNotFoundError:
        return ""
    return str(said["step"]) if said["at"] > since else ""


def wait_until_settled(shop: Workshop, job: Job) -> Job:
    ends_at = time.monotonic() + PATIENCE_S
    while (now := shop.store.job(job.id)).open:
        if time.monotonic() > ends_at:
            raise Unavailable(f"job {job.id} was not settled within {PATIENCE_S:.0f} s; it is at {now.steps}")
        time.sleep(0.1)
    return now


@contextmanager
def worker(shop: Workshop) -> Iterator[None]:
    process = start_worker(shop)
    try:
        yield
    finally:
        stop_child(process)


@contextmanager
def watched_steps(shop: Workshop, job: Job) -> Iterator[dict[str, Span]]:
    """From when to when, on the monotonic clock, each of the job's steps went while the block ran."""
    spans: dict[str, Span] = {}
    done = Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            step, now = step_of(shop, job), time.monotonic()
            if step in STEPS:
                spans[step] = (spans.get(step, (now, now))[0], now)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield spans
    finally:
        done.set()
        thread.join()


def kill_at_every_step(shop: Workshop, job: Job, spans: Mapping[str, Span]) -> list[str]:
    """`kill -9` of the worker as each step begins, and at a random moment of it, going by `spans`.

    The steps that the kills fell in; the job is settled at the end.
    """
    moments = [(step, share) for step in STEPS for share in (0.0, random.random())]
    at = []
    for step, share in track(moments, "kill -9 of the worker", console=Console(stderr=True)):
        process, since = start_worker(shop), time.time()
        try:
            _wait_for(shop, job, step, since)
            began, ended = spans.get(step, (0.0, 0.0))
            _stay_in(shop, job, step, share * (ended - began))
            if shop.store.job(job.id).open:
                at.append(step_of(shop, job))
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    with worker(shop):
        wait_until_settled(shop, job)
    return at


def _wait_for(shop: Workshop, job: Job, step: str, since: float) -> None:
    """Until the job does this step or a later one, or is settled."""
    ends_at, late = time.monotonic() + PATIENCE_S, STEPS[STEPS.index(step) :]
    while (now := step_of(shop, job, since)) not in late:
        if now not in ("", *STEPS) or not shop.store.job(job.id).open:
            return
        if time.monotonic() > ends_at:
            raise Unavailable(f"job {job.id} did not come to {step!r} within {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)


def _stay_in(shop: Workshop, job: Job, step: str, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at and step_of(shop, job) == step:
        time.sleep(LOOK_S)


def contradictions(shop: Workshop, job: Job, rows: Sequence[int]) -> list[str]:
    """What does not fit the job's end; `rows` are those that it had to learn."""
    service, base = job.service, int(job.steps["snapshot"]["base"])
    settings, kept = shop.service(service), job.state == "kept"
    backlog = shop.store.backlog(service, settings.max_attempts)
    serving = shop.serving(service)
    found = []
    if serving is None or serving.release != (job.release if kept else base):
        found.append(f"release {serving and serving.release} serves after a job that ended as {job.state}")
    elif fault := _fault(shop, job, rows):
        found.append(fault)
    if backlog.fresh + backlog.waiting + backlog.spent != (0 if kept else len(rows)):
        found.append(f"rows left to learn: {backlog}")
    if kept and job.release != max(bundle.release for bundle in shop.bundles(service)):
        found.append(f"release {job.release} is not the newest")
    if left := shop.publisher.quarantine():
        found.append(f"left broken in the repository: {left}")
    return found


def _fault(shop: Workshop, job: Job, rows: Sequence[int]) -> str:
    """What is wrong with the release that the job made, if it is to serve; empty where nothing is."""
    if job.state != "kept":
        return ""
    bundle = shop.bundle(job.service, job.release)
    try:
        verify_bundle(bundle)
    except PerennialError as error:
        return str(error)
    learned = bundle.manifest["lineage"]["feedback_rows"]
    return "" if sorted(learned) == sorted(rows) else f"learned {len(learned)} of {len(rows)} rows"

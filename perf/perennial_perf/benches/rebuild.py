"""Bench `rebuild`: answers stay quick while a release is made on the same cores, and `kill -9` of the worker
at every step of that costs nothing.

The load is open, at a quarter of what the server can do: users who ask do not wait for each other's answers.
The gates are wide open, since what is learned here is no matter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from perennial.config import Settings
from perennial.errors import Unavailable
from perennial.jobs.release import roll_back
from perennial.jobs.workshop import Workshop
from perennial.server.process import Server
from perennial_perf import payloads
from perennial_perf.benches._rebuilds import (
    STEPS,
    Span,
    ask_for_rebuild,
    contradictions,
    give_feedback,
    kill_at_every_step,
    wait_until_settled,
    watched_steps,
    worker,
)
from perennial_perf.benches._sandbox import (
    OPEN_GATES,
    SERVICE,
    processes_of,
    sample,
    sandbox,
    say,
    serving,
    target,
    texts_of,
)
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import percentiles
from perennial_perf.trace import Trace

__all__ = ["run"]

CLIENTS, SHARE = 8, 0.25
"""The load's rate is this share of what the server answers to so many clients."""
TEXTS = 400
WARM_S = 1.0
WATCH_S = 20.0
"""Longer than a killed worker's successor takes to begin."""
STEADY, REBUILDING, KILLING = "steady", "while a rebuild runs, up to its watch", "while the worker is killed"


@dataclass(frozen=True)
class Size:
    """`rows` of feedback, which both rebuilds learn; `steady_s` before and after the first one."""

    rows: int
    steady_s: float
    probe_s: float


FULL = Size(1000, 40.0, 5.0)
QUICK = Size(400, 2.0, 1.0)


@dataclass(frozen=True)
class Quiet:
    """A rebuild that nobody disturbs, under load: from when to when it and each of its steps went."""

    trace: Trace
    began: float
    ended: float
    spans: dict[str, Span]
    steady_s: float

    def busy(self) -> Trace:
        """While the release was made and promoted; the watch that follows is mostly waiting."""
        return self.trace.between(self.began, self.spans["watch"][0])

    def steady(self) -> Trace:
        calm = (self.trace.started < self.began) | (self.trace.started > self.ended + WARM_S)
        return self.trace.where(calm & (self.trace.started > self.trace.started.min() + WARM_S))


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("rebuild")
    size = QUICK if quick else FULL
    rated = next(iter(sample(settings).stream().values()))[: size.rows]
    with sandbox(settings, "rebuild", **OPEN_GATES, watch_s=WATCH_S) as shop:
        asked = payloads.questions(SERVICE, texts_of(shop.bundle(SERVICE, 1), TEXTS))
        with serving(shop) as server:
            plan = Plan(
                target(server), CLIENTS, SHARE * _capacity(server, asked, size.probe_s), seconds=7200.0
            )
            rows = give_feedback(shop, SERVICE, rated)
            quiet = _rebuild_under_load(shop, plan, asked, size.steady_s)
            say("rolling back, and rebuilding with a worker that is killed at every step")
            roll_back(shop, SERVICE)
            processes = processes_of(shop, server, 1)
            job = ask_for_rebuild(shop, SERVICE)
            with background(plan, asked) as load:
                killed_at = kill_at_every_step(shop, job, quiet.spans)
                killing = load.stop()
            restarted = len(processes ^ processes_of(shop, server, 1))
        wrong = contradictions(shop, shop.store.job(job.id), rows)
    for line in wrong:
        say(f"wrong: {line}")
    figures: Figures = {
        "requests/s of the load": plan.rate or 0.0,
        "seconds of the rebuild": quiet.ended - quiet.began,
        "kills of the worker": len(killed_at),
        **_tables(quiet, killing),
    }
    return draft.report(figures, _goals(quiet, killing, killed_at, restarted, wrong))


def _goals(
    quiet: Quiet, killing: Trace, killed_at: Sequence[str], restarted: int, wrong: Sequence[str]
) -> list[Goal]:
    slowdown = _row(quiet.busy())["p99"] / _row(quiet.steady())["p99"]
    return [
        Goal("p99 while a rebuild runs / steady p99", slowdown, 3, "<="),
        Goal("failed requests while a rebuild runs", quiet.trace.failed, 0, "=="),
        Goal("steps in which the worker was killed", len(set(killed_at) & set(STEPS)), len(STEPS), "=="),
        Goal("failed requests while the worker is killed", killing.failed, 0, "=="),
        Goal("processes of the serving release restarted", restarted, 0, "=="),
        Goal("contradictions after the kills", len(wrong), 0, "=="),
    ]


def _capacity(server: Server, asked: Sequence[bytes], seconds: float) -> float:
    """Requests a second, at most."""
    with background(Plan(target(server), CLIENTS, seconds=seconds), asked) as load:
        return load.wait().rate


def _rebuild_under_load(shop: Workshop, plan: Plan, asked: Sequence[bytes], steady_s: float) -> Quiet:
    with worker(shop), background(plan, asked) as load:
        time.sleep(WARM_S + steady_s)
        began = time.monotonic()
        job = ask_for_rebuild(shop, SERVICE)
        with watched_steps(shop, job) as spans:
            done = wait_until_settled(shop, job)
        ended = time.monotonic()
        time.sleep(WARM_S + steady_s)
        trace = load.stop()
    if done.state != "kept":
        raise Unavailable(f"the rebuild was not kept but {done.state}: {done.detail}; run the bench again")
    return Quiet(trace, began, ended, spans, 2 * steady_s)


def _tables(quiet: Quiet, killing: Trace) -> Figures:
    """Latencies in ms of what was asked meanwhile."""
    seconds = quiet.spans["watch"][0] - quiet.began
    killing_s = float(killing.ended.max() - killing.started.min())
    return {
        STEADY: {"seconds": quiet.steady_s, **_row(quiet.steady())},
        REBUILDING: {"seconds": seconds, **_row(quiet.busy())},
        **{
            f"… {step}": {"seconds": end - start, **_row(quiet.trace.between(start, end))}
            for step, (start, end) in quiet.spans.items()
        },
        KILLING: {"seconds": killing_s, **_row(killing)},
    }


def _row(trace: Trace) -> dict[str, float]:
    return {"requests": len(trace), **percentiles(trace.latency_ms)}

"""The slow loop, top to bottom: from feedback, or a user's data, to a release that serves.

Each step is idempotent and is recorded once it is done, so the job can be killed at any point: the next
attempt goes on behind the last recorded step and converges to the old release or to the new one.
"""

from __future__ import annotations

from collections.abc import Callable

from perennial.jobs import candidate, engines, release, snapshot, watch
from perennial.jobs.run import Refused, Run
from perennial.jobs.workshop import Workshop
from perennial.types import Job, Lease


def rebuild(shop: Workshop, job: Job, lease: Lease) -> Job:
    return carry_out(Run(shop, job, lease), train)


def train(run: Run) -> None:
    run.step("snapshot", snapshot.take)
    run.step("train", candidate.train)


def carry_out(run: Run, make: Callable[[Run], None]) -> Job:
    """`make` leaves a candidate where `candidate.train` does; what follows is the same for all."""
    try:
        make(run)
        run.step("quality", candidate.judge_quality)
        run.step("export", candidate.export)
        run.step("engine", engines.build)
        run.step("parity", candidate.judge_parity)
        run.step("latency", candidate.judge_latency)
        run.step("shadow", candidate.answer_in_shadow)
        run.step("head", candidate.prepare_head)
        run.step("publish", release.publish)
        run.step("promote", release.promote)
        run.step("watch", watch.watch, refused_as="rolled back")
    except Refused as verdict:
        return run.end(verdict.state, str(verdict))
    done = run.end("kept")
    release.retire_old(run.shop, run.job.service)
    return done

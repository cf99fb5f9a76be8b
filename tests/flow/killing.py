"""Runs one job in forks that die by SIGKILL at every step: `python killing.py FOLDER JOB`.

A process of its own, which imports torch but never uses it: a fork of one that did would hang in its threads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perennial.jobs import run as runs
from perennial.jobs.rebuild import rebuild
from perennial.jobs.workshop import Workshop

sys.path.insert(0, str(Path(__file__).parents[1]))
from flow.workshops import SERVICE, lease_of, workshop

STEPS = (
    "snapshot",
    "train",
    "quality",
    "export",
    "engine",
    "parity",
    "latency",
    "shadow",
    "head",
    "publish",
    "promote",
    "watch",
)
MOMENTS = ("begins", "is done")


def main(folder: Path, job_id: str) -> None:
    shop = workshop(folder)
    for step in STEPS:
        for moment in MOMENTS:
            child = os.fork()
            if child == 0:
                run_and_die(shop, job_id, step, moment)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (
                f"{step} {moment}: {status}"
            )
            print(step, moment, shop.publisher.serving(SERVICE), flush=True)


def run_and_die(shop: Workshop, job_id: str, step: str, moment: str) -> None:
    def die_if(wanted: str, then: Callable[..., Any], name_at: int) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if moment == wanted and args[name_at] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return then(*args, **options)

        return call

    runs.Run.report = die_if("begins", runs.Run.report, 1)  # type: ignore[method-assign]
    shop.store.record = die_if("is done", shop.store.record, 2)  # type: ignore[method-assign]
    lease = lease_of(shop)
    running = shop.store.next_job(lease)
    assert running and running.id == job_id
    done = rebuild(shop, running, lease)
    print(f"{step} {moment} never came: {done.state} {done.detail}", file=sys.stderr, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

"""The worker: the one process that learns. It keeps heads up to their feedback, enqueues what is due, and
runs each job in a polite child.

The child writes under the worker's lease, so that a job whose worker was declared dead is fenced off at its
next write; the kernel ends the child with the worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perennial.children import die_with_parent
from perennial.errors import Fenced, PerennialError
from perennial.jobs import release
from perennial.jobs.due import Schedule
from perennial.jobs.forget import Retention, scrub
from perennial.jobs.learn import FastLoop
from perennial.jobs.workshop import Workshop
from perennial.store_protocol import WORKER
from perennial.types import Job, JobState, Lease

STOP_S = 10.0
NICE = 10
"""A busy core goes to answers, 9 parts of 10; at 19 a job beside a server under full load would never end."""


class Worker:
    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._ttl_s = shop.settings.worker.lease_s
        self._schedule, self._retention = Schedule(shop), Retention(shop)
        self._stop = threading.Event()

    def stop(self) -> None:
        """End `work` soon; a job under way is left for the next worker to go on with."""
        self._stop.set()

    def work(self) -> None:
        """Until stopped: hold the lease, enqueue what is due, run what is queued."""
        while not self._stop.is_set():
            lease = self.acquire()
            if lease is None:
                self._stop.wait(min(1.0, self._ttl_s / 4))
                continue
            try:
                self._work_under(lease)
            except Fenced:
                continue  # this process slept too long and another one took over; wait for the next turn
            self._shop.store.release(lease)

    def acquire(self) -> Lease | None:
        """The right to run jobs, or None where another worker has it."""
        return self._shop.store.acquire(WORKER, f"{socket.gethostname()}:{os.getpid()}", self._ttl_s)

    def run_until(self, job: Job, lease: Lease) -> None:
        """Run what is queued, here and now, until `job` is settled; then let go of the lease."""
        try:
            self._settle_rows()
            while self._shop.store.job(job.id).open and (waiting := self._shop.store.next_job(lease)):
                self.run(waiting, lease)
        finally:
            self._shop.store.release(lease)

    def run(self, job: Job, lease: Lease) -> None:
        """Run the job in a child until it is settled, and renew the lease meanwhile."""
        for _ in range(self._shop.settings.worker.job_tries):
            self._run_once(job, lease)
            if self._stop.is_set() or not self._shop.store.job(job.id).open:
                break
        else:
            self._give_up(self._shop.store.job(job.id), lease)
        release.settle_rows(self._shop, job.service)  # a person may have switched since the job last looked

    def abandon(self, job: Job, lease: Lease, state: JobState, detail: str) -> None:
        """Settle a job that will not be done; its release, if it made one, is taken back before that."""
        self._shop.store.renew(lease, self._ttl_s)  # `Fenced` where another worker goes on with the job
        try:
            if self._shop.bundle_of(job):
                previous = job.steps["snapshot"]["previous"]
                release.take_back(self._shop, job.service, job.release, previous)
        except PerennialError as error:
            detail += f"; release {job.release} could not be taken back: {error}"
        self._shop.store.settle(job, lease, state, detail)

    def _give_up(self, job: Job, lease: Lease) -> None:
        log, tries = self._log(job), self._shop.settings.worker.job_tries
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        self.abandon(job, lease, "failed", f"ended {tries} times unsettled; {log} ends: {last[:300]}")

    def _settle_rows(self) -> None:
        """Mend what a kill left in the middle of a switch, or of forgetting."""
        for service in self._shop.released():
            release.settle_rows(self._shop, service)
            scrub(self._shop, service)

    def _work_under(self, lease: Lease) -> None:
        self._settle_rows()
        heads = FastLoop(self._shop, lease)
        heads.start()
        try:
            while not self._stop.is_set():
                lease = self._shop.store.renew(lease, self._ttl_s)
                self._schedule.enqueue_due()
                job = self._shop.store.next_job(lease)
                if job:
                    self.run(job, lease)
                else:
                    self._retention.apply()  # not while a job learns what it would lose
                    self._stop.wait(self._shop.settings.worker.poll_s)
        finally:
            heads.stop()

    def _run_once(self, job: Job, lease: Lease) -> None:
        order = {
            "settings": self._shop.settings.model_dump(mode="json"),
            "job": job.id,
            "lease": asdict(lease),
        }
        # Threads of a polite process that spin while they wait for each other hardly ever meet.
        waiting = {"OMP_WAIT_POLICY": "PASSIVE"} if self._shop.server_url else {}
        child = start_child(order, self._log(job), NICE, waiting)
        try:
            while child.poll() is None and not self._stop.is_set():
                self._shop.store.renew(lease, self._ttl_s)
                self._wait_for(child, self._ttl_s / 10)
        finally:
            child.terminate()
            child.wait()

    def _wait_for(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)

    def _log(self, job: Job) -> Path:
        return self._shop.state.folder("logs") / f"{job.service}-{job.release}.log"


def start_child(
    order: dict[str, Any],
    log: Path,
    nice: int = 0,
    environment: Mapping[str, str] | None = None,
    shared: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """`python -m perennial.jobs` on this order, in a session of its own, gone when this process is. It
    has the `shared` open files under the same numbers."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "perennial.jobs"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            pass_fds=shared,
            preexec_fn=lambda: die_with_parent(nice),  # noqa: PLW1509 (it only calls the kernel)
        )
    assert child.stdin
    with child.stdin as pipe:
        pipe.write(json.dumps(order).encode())
    return child


def stop_child(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()

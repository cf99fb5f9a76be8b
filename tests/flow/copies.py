"""Releases that are there in no time: copies of the serving one, each with a job that says it trained it."""

from __future__ import annotations

import shutil
from itertools import count

from flow.workshops import SERVICE
from perennial.jobs import release
from perennial.jobs.run import Run
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import MANIFEST, write_manifest
from perennial.types import Job, Lease, NewFeedback
from tiny import LABELS

_numbers = count()


def begin(shop: Workshop, lease: Lease) -> Job:
    """A running job that has claimed every free row and has made its bundle, which is not published yet."""
    base = shop.serving(SERVICE)
    assert base
    shop.store.enqueue(SERVICE, "rebuild", "test", {})
    job = shop.store.next_job(lease)
    assert job
    rows = [row.row for row in shop.store.claim(job, lease, 1000, 10)]
    learned = {"previous": base.release, "parent": base.release, "feedback_rows": rows}
    folder = shop.state.bundle(SERVICE, job.release)
    shutil.copytree(base.folder, folder, ignore=shutil.ignore_patterns(MANIFEST))
    lineage = {**base.manifest["lineage"], **learned}
    told = {"job": job.id, "release": job.release, "lineage": lineage}
    write_manifest(folder, {**base.manifest, **told})
    return shop.store.record(job, lease, "snapshot", {"base": base.release, **learned})


def promote(shop: Workshop, lease: Lease) -> Job:
    """A running job whose release was just promoted."""
    run = Run(shop, begin(shop, lease), lease)
    run.step("promote", release.promote)
    return run.job


def keep(shop: Workshop, lease: Lease, rows: int) -> int:
    """A release that learned so many new rows, serves, and is kept."""
    give(shop, rows)
    job = promote(shop, lease)
    shop.store.settle(job, lease, "kept")
    return job.release


def give(shop: Workshop, rows: int) -> None:
    """So many new rows of feedback."""
    shop.store.add_feedback([NewFeedback(SERVICE, f"text {next(_numbers)}", LABELS[0]) for _ in range(rows)])


def free_rows(shop: Workshop) -> int:
    backlog = shop.store.backlog(SERVICE, 10)
    return backlog.fresh + backlog.waiting + backlog.spent

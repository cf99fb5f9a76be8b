"""A job whose every try dies: what becomes of its release and of its rows."""

from __future__ import annotations

import shutil

import pytest

from flow.copies import begin, free_rows, give, keep, promote
from flow.workshops import SERVICE, lease_of
from perennial.errors import Fenced
from perennial.jobs import release
from perennial.jobs.worker import Worker
from perennial.jobs.workshop import Workshop
from perennial.store_protocol import WORKER
from perennial.types import Job, Lease


@pytest.fixture
def lease(shop: Workshop) -> Lease:
    return lease_of(shop)


@pytest.fixture
def worker(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One whose every child dies at once."""
    made = Worker(shop)

    def die(job: Job, lease: Lease) -> None:
        (shop.state.folder("logs") / f"{SERVICE}-{job.release}.log").write_text("out of memory\n")

    monkeypatch.setattr(made, "_run_once", die)
    return made


def test_a_release_that_nobody_watched_to_the_end_is_taken_back(
    shop: Workshop, lease: Lease, worker: Worker
) -> None:
    give(shop, 3)
    job = promote(shop, lease)
    worker.run(job, lease)
    done = shop.store.job(job.id)
    assert (done.state, free_rows(shop)) == ("failed", 3)
    assert done.detail.startswith("ended 3 times unsettled; ") and done.detail.endswith("out of memory")
    assert (shop.publisher.serving(SERVICE), shop.publisher.versions(SERVICE)) == (1, [1])


def test_a_candidate_that_was_only_published_leaves_the_repository(
    shop: Workshop, lease: Lease, worker: Worker
) -> None:
    keep(shop, lease, 1)
    job = begin(shop, lease)
    with shop.state.lock(release.LOCK):
        release.deploy(shop, shop.bundle(SERVICE, job.release))
    worker.run(job, lease)
    assert shop.store.job(job.id).state == "failed"
    assert (shop.publisher.serving(SERVICE), shop.publisher.versions(SERVICE)) == (2, [1, 2])


def test_a_release_that_cannot_be_taken_back_keeps_its_rows_and_says_so(
    shop: Workshop, lease: Lease, worker: Worker
) -> None:
    give(shop, 3)
    job = promote(shop, lease)
    shutil.rmtree(shop.state.bundle(SERVICE, 1))
    worker.run(job, lease)
    done = shop.store.job(job.id)
    assert done.state == "failed" and "release 2 could not be taken back" in done.detail
    assert (shop.publisher.serving(SERVICE), free_rows(shop)) == (2, 0)


def test_a_worker_that_lost_its_lease_takes_nothing_back(
    shop: Workshop, lease: Lease, worker: Worker
) -> None:
    job = promote(shop, lease)
    shop.store.release(lease)
    assert shop.store.acquire(WORKER, "another worker", 60)
    with pytest.raises(Fenced):
        worker.run(job, lease)
    assert (shop.store.job(job.id).open, shop.publisher.serving(SERVICE)) == (True, 2)

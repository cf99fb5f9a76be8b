"""Which release serves, which one a roll-back leads to, and which rows count as learned meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from fakes import FakeControl
from flow.copies import begin, free_rows, give, keep, promote
from flow.workshops import SERVICE, lease_of
from perennial.errors import Broken, NotFound
from perennial.jobs import release as releases
from perennial.jobs.release import LOCK, deploy, roll_back, settle_rows, switch
from perennial.jobs.run import Refused, Run
from perennial.jobs.worker import Worker
from perennial.jobs.workshop import Workshop
from perennial.types import Lease
from serving import within

CALLS_OF_A_DEPLOYMENT = 8
"""Both ensembles are loaded; then each of three stages is, and is waited for."""


@pytest.fixture
def lease(shop: Workshop) -> Lease:
    return lease_of(shop)


@pytest.fixture
def grown(shop: Workshop, lease: Lease) -> Workshop:
    """Releases 2, 3 and 4 learned 1, 2 and 4 rows, so that the number of free rows tells whose they are."""
    assert [keep(shop, lease, rows) for rows in (1, 2, 4)] == [2, 3, 4]
    assert free_rows(shop) == 0
    return shop


@contextmanager
def working(shop: Workshop, lease: Lease) -> Iterator[None]:
    """A worker runs beside the block."""
    shop.store.release(lease)
    worker = Worker(shop)
    thread = Thread(target=worker.work)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


# --- what a roll-back leads to


def test_a_rollback_leads_to_what_served_before_even_if_it_is_newer(grown: Workshop) -> None:
    switch(grown, SERVICE, 2)
    assert roll_back(grown, SERVICE)["release"] == 4
    assert free_rows(grown) == 0


def test_to_roll_back_again_goes_further_back_and_never_to_the_bad_one(grown: Workshop) -> None:
    assert [roll_back(grown, SERVICE)["release"] for _ in range(3)] == [3, 2, 1]
    assert grown.publisher.versions(SERVICE) == [1]
    with pytest.raises(NotFound, match="release 1 of 'tone' has no previous release"):
        roll_back(grown, SERVICE)


def test_a_candidate_that_was_not_promoted_is_none_to_go_back_to(grown: Workshop, lease: Lease) -> None:
    publish(grown, begin(grown, lease).release)
    assert grown.publisher.versions(SERVICE) == [3, 4, 5]
    assert roll_back(grown, SERVICE)["release"] == 3


def test_a_candidate_that_is_refused_at_its_promotion_leaves_the_repository(
    grown: Workshop, lease: Lease
) -> None:
    job = begin(grown, lease)
    switch(grown, SERVICE, 3)
    publish(grown, job.release)
    with pytest.raises(Refused, match="release 3 was promoted meanwhile"):
        Run(grown, job, lease).step("promote", releases.promote)
    assert (grown.publisher.serving(SERVICE), grown.publisher.versions(SERVICE)) == (3, [3, 4])


def test_a_release_that_cannot_serve_is_none_to_go_back_to(
    grown: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeControl()
    monkeypatch.setattr(Workshop, "control", lambda shop: server.opened())
    server.faults.extend([*[None] * CALLS_OF_A_DEPLOYMENT, Broken("no such tensor")])
    with pytest.raises(Broken, match=r"release 2 of 'tone' cannot serve: no such tensor"):
        switch(grown, SERVICE, 2)
    assert (grown.publisher.serving(SERVICE), grown.publisher.versions(SERVICE)) == (4, [4])
    assert free_rows(grown) == 0
    assert roll_back(grown, SERVICE)["release"] == 3


def publish(shop: Workshop, release: int) -> None:
    with shop.state.lock(LOCK):
        deploy(shop, shop.bundle(SERVICE, release))


# --- which rows count as learned


def test_an_older_release_knows_less_and_the_rest_is_free(grown: Workshop) -> None:
    switch(grown, SERVICE, 2)
    assert free_rows(grown) == 2 + 4
    switch(grown, SERVICE, 3)
    assert free_rows(grown) == 4
    switch(grown, SERVICE, 4)
    assert free_rows(grown) == 0


def test_a_release_that_serves_again_has_its_rows_again(grown: Workshop) -> None:
    assert roll_back(grown, SERVICE)["release"] == 3
    assert free_rows(grown) == 4
    switch(grown, SERVICE, 4)
    assert free_rows(grown) == 0


def test_rows_that_another_job_claimed_come_back_when_it_lets_them_go(grown: Workshop, lease: Lease) -> None:
    roll_back(grown, SERVICE)
    job = begin(grown, lease)
    switch(grown, SERVICE, 4)
    assert len(grown.store.claim(job, lease, 10, 10)) == 4
    grown.store.settle(job, lease, "refused")
    assert free_rows(grown) == 4
    settle_rows(grown, SERVICE)
    assert free_rows(grown) == 0


def test_ancestors_whose_bundles_are_gone_have_learned_their_rows(grown: Workshop) -> None:
    for release in (1, 2):
        (grown.state.bundle(SERVICE, release) / "manifest.json").unlink()
    roll_back(grown, SERVICE)
    assert free_rows(grown) == 4


def test_a_job_that_is_kept_after_its_release_was_taken_back_has_learned_nothing(
    shop: Workshop, lease: Lease
) -> None:
    give(shop, 1)
    job = promote(shop, lease)
    roll_back(shop, SERVICE)
    shop.store.settle(job, lease, "kept")
    settle_rows(shop, SERVICE)
    assert (shop.store.job(job.id).state, free_rows(shop)) == ("rolled back", 1)


def test_the_worker_looks_at_what_serves_once_a_job_is_settled(
    shop: Workshop, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(shop, 1)
    job = promote(shop, lease)
    roll_back(shop, SERVICE)
    worker = Worker(shop)
    monkeypatch.setattr(worker, "_run_once", lambda job, lease: shop.store.settle(job, lease, "kept"))
    worker.run(job, lease)
    assert (shop.store.job(job.id).state, free_rows(shop)) == ("rolled back", 1)


def test_a_worker_that_starts_mends_what_a_kill_after_a_switch_left(grown: Workshop, lease: Lease) -> None:
    grown.publisher.point(SERVICE, 3)  # all that was done before the kill
    assert free_rows(grown) == 0
    with working(grown, lease):
        assert within(10, lambda: free_rows(grown) == 4)

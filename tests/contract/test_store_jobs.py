"""What every store promises of jobs: their numbers and steps, and the feedback that each learns once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from perennial.errors import Conflict, NotFound
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import Backlog, FeedbackRow, Job, Lease, NewFeedback, ServiceRecord


@pytest.fixture(autouse=True)
def services(store: Store) -> None:
    for name in ("sentiment", "topics"):
        store.put_service(ServiceRecord(name, "classify", ("negative", "positive")))


@pytest.fixture
def lease(store: Store) -> Lease:
    held = store.acquire("worker", "me", 60.0)
    assert held
    return held


def rows(count: int, name: str = "film") -> list[NewFeedback]:
    return [NewFeedback("sentiment", f"{name} {number}", "positive") for number in range(count)]


def running(store: Store, lease: Lease, service: str = "sentiment") -> Job:
    store.enqueue(service, "rebuild", "test", {})
    job = store.next_job(lease)
    assert job
    return job


def texts(found: list[FeedbackRow]) -> list[str]:
    return [one.text for one in found]


# --- jobs


def test_a_service_has_one_open_job_of_a_kind(store: Store) -> None:
    first = store.enqueue("sentiment", "rebuild", "count", {"a": 1})
    assert store.enqueue("sentiment", "rebuild", "age", {}) == first
    build = store.enqueue("sentiment", "build", "asked", {})
    assert (first.state, first.release, build.release) == ("queued", 1, 2)
    assert store.job(first.id) == first
    assert store.jobs() == [build, first]
    assert store.jobs("topics") == []


def test_many_who_enqueue_at_once_get_the_same_job(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        jobs = pool.map(lambda _: store.enqueue("sentiment", "rebuild", "count", {}), range(12))
    assert len({job.id for job in jobs}) == 1


def test_release_numbers_only_grow(store: Store, lease: Lease) -> None:
    first = store.enqueue("sentiment", "build", "asked", {}, first_release=5)
    store.settle(first, lease, "failed")
    second = store.enqueue("sentiment", "build", "asked", {})
    store.settle(second, lease, "refused")
    third = store.enqueue("sentiment", "build", "asked", {}, first_release=2)
    assert [job.release for job in (first, second, third)] == [5, 6, 7]
    assert store.enqueue("topics", "build", "asked", {}).release == 1


def test_an_unknown_job_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        store.job("nothing")


def test_the_next_job_is_the_one_a_dead_worker_left_then_the_oldest(store: Store, lease: Lease) -> None:
    first = store.enqueue("topics", "rebuild", "count", {})
    second = store.enqueue("sentiment", "rebuild", "count", {})
    started = store.next_job(lease)
    assert started and (started.id, started.state) == (first.id, "running") and started.started_at
    assert store.next_job(lease) == started
    store.settle(started, lease, "kept")
    after = store.next_job(lease)
    assert after and after.id == second.id
    store.settle(after, lease, "kept")
    assert store.next_job(lease) is None


def test_steps_are_recorded_in_their_order_for_whoever_goes_on(url: str, store: Store, lease: Lease) -> None:
    job = running(store, lease)
    for step in ("snapshot", "train", "quality"):
        job = store.record(job, lease, step, {"seconds": 0.5, "rows": [1, 2]})
    assert list(job.steps) == ["snapshot", "train", "quality"]
    other = open_store(url)
    assert other.job(job.id) == job
    other.close()


def test_an_ended_job_changes_no_more(store: Store, lease: Lease) -> None:
    job = running(store, lease)
    store.settle(job, lease, "refused", "worse")
    store.settle(job, lease, "refused", "said twice")
    ended = store.job(job.id)
    assert (ended.state, ended.detail, ended.open) == ("refused", "worse", False) and ended.finished_at
    changes: list[Callable[[], object]] = [
        lambda: store.settle(job, lease, "kept"),
        lambda: store.record(job, lease, "train", {}),
        lambda: store.claim(job, lease, 10, 3),
    ]
    for change in changes:
        with pytest.raises(Conflict, match="ended as 'refused'"):
            change()


# --- claims


def test_a_job_claims_the_oldest_rows_and_the_same_ones_when_asked_again(store: Store, lease: Lease) -> None:
    store.add_feedback(rows(5))
    job = running(store, lease)
    claimed = store.claim(job, lease, 3, 3)
    store.add_feedback(rows(1, "late"))
    assert texts(claimed) == ["film 0", "film 1", "film 2"]
    assert store.claim(job, lease, 10, 3) == claimed


def test_a_claim_of_nothing_stays_a_claim_of_nothing(store: Store, lease: Lease) -> None:
    job = running(store, lease)
    assert store.claim(job, lease, 3, 3) == []
    store.add_feedback(rows(1))
    assert store.claim(job, lease, 3, 3) == []


def test_no_row_is_held_by_two_jobs(store: Store, lease: Lease) -> None:
    store.add_feedback([*rows(4), NewFeedback("topics", "art", "positive")])
    rebuild, build = (store.enqueue("sentiment", kind, "test", {}) for kind in ("rebuild", "build"))
    first, second = store.claim(rebuild, lease, 3, 3), store.claim(build, lease, 3, 3)
    assert texts([*first, *second]) == ["film 0", "film 1", "film 2", "film 3"]


def test_a_kept_job_has_learned_its_rows_for_good(store: Store, lease: Lease) -> None:
    store.add_feedback(rows(3))
    job = running(store, lease)
    store.claim(job, lease, 2, 3)
    store.settle(job, lease, "kept")
    assert texts(store.claim(running(store, lease), lease, 10, 3)) == ["film 2"]


@pytest.mark.parametrize("state", ["refused", "rolled back", "failed"])
def test_any_other_end_frees_the_rows_until_they_are_spent(store: Store, lease: Lease, state: str) -> None:
    store.add_feedback(rows(2))
    for attempts in range(2):
        job = running(store, lease)
        assert [one.attempts for one in store.claim(job, lease, 10, 2)] == [attempts] * 2
        store.settle(job, lease, state)  # type: ignore[arg-type]
    assert store.claim(running(store, lease), lease, 10, 2) == []


def test_a_cancelled_job_tried_nothing(store: Store, lease: Lease) -> None:
    store.add_feedback(rows(2))
    job = running(store, lease)
    store.claim(job, lease, 10, 3)
    store.settle(job, lease, "cancelled")
    assert store.backlog("sentiment", 3).fresh == 2


def test_the_backlog_tells_fresh_waiting_and_spent_rows_apart(store: Store, lease: Lease) -> None:
    assert store.backlog("sentiment", 2) == Backlog(0, 0, 0, None)
    store.add_feedback(rows(6))
    for size in (3, 2):  # the three oldest are refused, then two of them again
        job = running(store, lease)
        store.claim(job, lease, size, 2)
        store.settle(job, lease, "refused")
    fourth = store.feedback("sentiment")[3]
    assert store.backlog("sentiment", 2) == Backlog(3, 1, 2, fourth.created_at)
    assert store.backlog("topics", 2) == Backlog(0, 0, 0, None)


def test_rows_that_a_job_holds_are_no_backlog(store: Store, lease: Lease) -> None:
    store.add_feedback(rows(2))
    store.claim(running(store, lease), lease, 2, 3)
    assert store.backlog("sentiment", 3) == Backlog(0, 0, 0, None)


# --- what serves, and what it has learned


Learned = dict[int, tuple[str, list[int]]]
"""The job of a release, and the rows that it learned."""


@pytest.fixture
def learned(store: Store, lease: Lease) -> Learned:
    """Three kept releases, of 1, 2 and 4 rows: the number of free rows tells whose they are."""
    return {release: learn(store, lease, count) for release, count in ((1, 1), (2, 2), (3, 4))}


def learn(store: Store, lease: Lease, count: int) -> tuple[str, list[int]]:
    store.add_feedback(rows(count))
    job = running(store, lease)
    claimed = [one.row for one in store.claim(job, lease, count, 3)]
    store.settle(job, lease, "kept")
    return job.id, claimed


def states(store: Store) -> list[str]:
    """In the order of the releases."""
    return [job.state for job in sorted(store.jobs("sentiment"), key=lambda job: job.release)]


def mark(store: Store, learned: Learned, *releases: int, since: int = 0) -> None:
    store.mark_learned("sentiment", dict(learned[release] for release in releases), since)


def test_what_no_release_that_counts_has_learned_is_free_again(store: Store, learned: Learned) -> None:
    for _ in range(2):
        mark(store, learned, 1, 3)
    assert states(store) == ["kept", "rolled back", "kept"]
    assert store.backlog("sentiment", 3) == Backlog(0, 2, 0, None)


def test_a_release_that_counts_again_holds_its_rows_as_if_it_had_never_let_go(
    store: Store, learned: Learned
) -> None:
    for _ in range(3):
        mark(store, learned, 1)
        assert store.backlog("sentiment", 2) == Backlog(0, 6, 0, None), "none is spent by going to and fro"
        mark(store, learned, 1, 2, 3)
        assert store.backlog("sentiment", 2) == Backlog(0, 0, 0, None)
    assert states(store) == ["kept"] * 3


def test_a_row_goes_from_one_release_to_another(store: Store, lease: Lease, learned: Learned) -> None:
    mark(store, learned, 1)
    job = running(store, lease)
    learned[4] = job.id, [one.row for one in store.claim(job, lease, 10, 3)]
    assert sorted(learned[4][1]) == [*learned[2][1], *learned[3][1]]
    store.settle(job, lease, "kept")
    mark(store, learned, 1, 2, 3)
    assert states(store) == ["kept", "kept", "kept", "rolled back"]
    mark(store, learned, 1, 4)
    assert states(store) == ["kept", "rolled back", "rolled back", "kept"]
    assert store.backlog("sentiment", 3) == Backlog(0, 0, 0, None)


def test_releases_that_are_older_than_all_that_is_known_stay_as_they_are(
    store: Store, learned: Learned
) -> None:
    mark(store, learned, 2, since=2)
    assert states(store) == ["kept", "kept", "rolled back"]


def test_a_release_without_ancestors_leaves_nothing_learned_but_its_own(
    store: Store, learned: Learned
) -> None:
    mark(store, learned, 2)
    assert states(store) == ["rolled back", "kept", "rolled back"]


def test_a_job_that_failed_holds_the_rows_of_a_release_that_serves_and_stays_failed(
    store: Store, lease: Lease
) -> None:
    store.add_feedback(rows(2))
    job = running(store, lease)
    claimed = [one.row for one in store.claim(job, lease, 2, 3)]
    store.settle(job, lease, "failed")
    for _ in range(2):
        store.mark_learned("sentiment", {job.id: claimed}, 0)
        assert (states(store), store.backlog("sentiment", 3)) == (["failed"], Backlog(0, 0, 0, None))
    store.mark_learned("sentiment", {}, 0)
    assert store.backlog("sentiment", 3).waiting == 2


def test_an_open_job_keeps_its_rows_whatever_serves(store: Store, lease: Lease, learned: Learned) -> None:
    mark(store, learned, 1)
    job = running(store, lease)
    claimed = store.claim(job, lease, 10, 3)
    for releases in ((1, 2, 3), (1,), (1, 2, 3)):
        mark(store, learned, *releases)
        assert (store.job(job.id), store.claim(job, lease, 10, 3)) == (job, claimed)
    store.settle(job, lease, "refused")
    assert store.backlog("sentiment", 3) == Backlog(0, 6, 0, None)
    mark(store, learned, 1, 2, 3)
    assert store.backlog("sentiment", 3) == Backlog(0, 0, 0, None)


def test_another_services_rows_are_none_of_it(store: Store, learned: Learned) -> None:
    store.mark_learned("topics", dict([learned[1]]), 0)
    assert states(store) == ["kept"] * 3

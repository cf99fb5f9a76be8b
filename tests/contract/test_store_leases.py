"""What every store promises of leases: one holder, a token that only grows, and no write without it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from perennial.errors import Fenced
from perennial.store_protocol import Store
from perennial.types import Lease, NewFeedback, ServiceRecord


def acquire(store: Store, holder: str, ttl_s: float = 60.0) -> Lease:
    lease = store.acquire("worker", holder, ttl_s)
    assert lease
    return lease


def taken_over(store: Store) -> Lease:
    """A lease that ran out and is another's now."""
    lost = acquire(store, "old", 0.02)
    time.sleep(0.05)
    acquire(store, "new")
    return lost


def test_a_lease_has_one_holder(store: Store) -> None:
    acquire(store, "a")
    assert store.acquire("worker", "b", 60.0) is None
    assert store.acquire("watchdog", "b", 60.0)


def test_the_lease_in_force_is_told_to_anybody(store: Store) -> None:
    assert store.lease("worker") is None
    held = acquire(store, "a")
    assert store.lease("worker") == held
    store.release(held)
    assert store.lease("worker") is None
    acquire(store, "a", 0.0)
    assert store.lease("worker") is None


def test_of_many_who_ask_at_once_one_gets_it(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        leases = list(pool.map(lambda holder: store.acquire("worker", str(holder), 60.0), range(12)))
    assert len([lease for lease in leases if lease]) == 1


def test_the_token_grows_with_each_holder(store: Store) -> None:
    lost = taken_over(store)
    first = acquire(store, "new")  # the same holder, started anew
    store.release(first)
    second = acquire(store, "third")
    assert lost.token < first.token < second.token
    assert second.expires_at == pytest.approx(time.time() + 60.0, abs=5.0)


def test_a_renewed_lease_lives_on_under_its_token(store: Store) -> None:
    lease = acquire(store, "a", 0.05)
    renewed = store.renew(lease, 60.0)
    time.sleep(0.1)
    assert store.acquire("worker", "b", 60.0) is None
    assert renewed.token == lease.token and renewed.expires_at > lease.expires_at


def test_a_lease_that_ran_out_is_renewed_where_nobody_took_it(store: Store) -> None:
    lease = acquire(store, "a", 0.0)
    assert store.renew(lease, 60.0).token == lease.token


def test_letting_go_of_a_lost_lease_does_no_harm(store: Store) -> None:
    store.release(taken_over(store))
    assert store.acquire("worker", "third", 60.0) is None


def released(store: Store) -> Lease:
    lease = acquire(store, "old")
    store.release(lease)
    return lease


@pytest.mark.parametrize("lose", [taken_over, released])
def test_no_write_passes_without_the_lease(store: Store, lose: Callable[[Store], Lease]) -> None:
    store.put_service(ServiceRecord("sentiment", "classify", ("negative", "positive")))
    store.add_feedback([NewFeedback("sentiment", "a film", "positive")])
    job, lost = store.enqueue("sentiment", "rebuild", "test", {}), lose(store)
    writes: list[Callable[[], object]] = [
        lambda: store.renew(lost, 60.0),
        lambda: store.next_job(lost),
        lambda: store.claim(job, lost, 10, 3),
        lambda: store.record(job, lost, "train", {}),
        lambda: store.settle(job, lost, "kept"),
    ]
    for write in writes:
        with pytest.raises(Fenced, match=r"lease 'worker' of old \(token 1\) is now held by"):
            write()
    assert store.job(job.id) == job
    assert store.backlog("sentiment", 3).fresh == 1

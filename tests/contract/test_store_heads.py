"""What every store promises of heads: what engines said of rows, what is in force, and what is forgotten."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from perennial.errors import Fenced
from perennial.store_protocol import Store
from perennial.types import NO_END, Head, HeadOrders, HeadRow, Lease, NewFeedback, ServiceRecord

SENTIMENT = "sentiment"


@pytest.fixture
def lease(store: Store) -> Lease:
    for name in (SENTIMENT, "topics"):
        store.put_service(ServiceRecord(name, "classify", ("negative", "positive")))
    sources = ("ann", "bob", "ann")
    store.add_feedback([NewFeedback(SENTIMENT, f"film {n}", "positive", s) for n, s in enumerate(sources)])
    held = store.acquire("worker", "me", 60.0)
    assert held
    return held


@pytest.fixture
def rows(store: Store, lease: Lease) -> list[int]:
    return [row.row for row in store.feedback(SENTIMENT)]


def seen(row: int) -> HeadRow:
    return HeadRow(row, bytes([row % 256, 0, 255]), bytes([row % 256]))


def test_what_a_release_said_of_rows_is_kept_once(store: Store, lease: Lease, rows: list[int]) -> None:
    first, second, third = map(seen, rows)
    store.add_head_rows(1, [first, second], lease)
    store.add_head_rows(1, [second, third, seen(rows[-1] + 99)], lease)
    store.add_head_rows(2, [first], lease)
    assert store.head_rows(SENTIMENT, 1) == [first, second, third], "and nothing of a row that is gone"
    assert store.head_rows(SENTIMENT, 2) == [first]
    assert store.head_rows("topics", 1) == []


def test_what_was_answered_before_it_was_learned_is_told_in_the_order_of_rows(
    store: Store, lease: Lease, rows: list[int]
) -> None:
    first, second, third = map(seen, rows)
    told = [replace(third, was_right=True), replace(first, was_right=False), second]
    for one in told:
        store.add_head_rows(1, [one], lease)
    store.add_head_rows(2, [replace(first, was_right=True)], lease)
    assert store.prequential(SENTIMENT, 1, newest=9) == [False, True], "nothing of a row that was not asked"
    assert store.prequential(SENTIMENT, 1, newest=1) == [True]
    assert [row.was_right for row in store.head_rows(SENTIMENT, 1)] == [False, None, True]
    assert store.prequential("topics", 1, newest=9) == []


def test_a_release_has_one_head_and_its_version_counts_up(store: Store, lease: Lease) -> None:
    assert store.head(SENTIMENT, 1) is None
    assert store.put_head(Head(SENTIMENT, 1, b"\0\1", {"rows": 1}), lease) == 1
    assert store.put_head(Head(SENTIMENT, 1, b"\0\2", {"rows": 2}), lease) == 2
    assert store.put_head(Head(SENTIMENT, 2, b"\0\3", {}), lease) == 1
    found = store.head(SENTIMENT, 1, newer_than=1)
    assert found and (found.version, found.weights, found.figures) == (2, b"\0\2", {"rows": 2})
    assert store.head(SENTIMENT, 1, newer_than=2) is None


def test_a_worker_that_lost_its_lease_changes_no_head(store: Store, lease: Lease) -> None:
    store.release(lease)
    assert store.acquire("worker", "another", 60.0)
    with pytest.raises(Fenced):
        store.put_head(Head(SENTIMENT, 1, b"", {}), lease)
    with pytest.raises(Fenced):
        store.add_head_rows(1, [seen(1)], lease)


def test_old_releases_are_let_go(store: Store, lease: Lease, rows: list[int]) -> None:
    for release in (1, 2, 3):
        store.add_head_rows(release, [seen(rows[0])], lease)
        store.put_head(Head(SENTIMENT, release, b"w", {}), lease)
    store.drop_heads("topics", {9})
    store.drop_heads(SENTIMENT, {2, 3})
    assert [bool(store.head(SENTIMENT, release)) for release in (1, 2, 3)] == [False, True, True]
    assert [len(store.head_rows(SENTIMENT, release)) for release in (1, 2, 3)] == [0, 1, 1]


def test_each_order_is_a_new_generation_and_keeps_the_others(store: Store, lease: Lease) -> None:
    assert store.head_orders(SENTIMENT) == HeadOrders()
    assert store.order_head(SENTIMENT, until_row=7) == HeadOrders(0, 7, 1)
    assert store.order_head(SENTIMENT, since_row=3) == HeadOrders(3, 7, 2)
    assert (
        store.order_head(SENTIMENT, until_row=NO_END)
        == store.head_orders(SENTIMENT)
        == HeadOrders(3, NO_END, 3)
    )


def test_what_no_kept_release_learned_is_unlearned_whoever_holds_it(
    store: Store, lease: Lease, rows: list[int]
) -> None:
    store.enqueue(SENTIMENT, "rebuild", "test", {})
    job = store.next_job(lease)
    assert job
    claimed = store.claim(job, lease, 2, 3)
    assert [row.row for row in store.unlearned(SENTIMENT)] == rows
    store.settle(job, lease, "kept")
    assert [row.row for row in store.unlearned(SENTIMENT)] == rows[2:]
    assert store.unlearned(SENTIMENT, after_row=rows[2]) == []
    assert [row.row for row in store.numbered(SENTIMENT, [rows[1], rows[0], rows[2] + 77])] == [
        row.row for row in claimed
    ]


def test_forgotten_rows_are_gone_with_all_that_was_said_of_them(
    store: Store, lease: Lease, rows: list[int]
) -> None:
    first, second, third = rows
    store.add_head_rows(1, [*map(seen, rows)], lease)
    before = store.head_orders(SENTIMENT)
    assert store.forget(SENTIMENT, source="ann") == [first, third]
    assert [row.text for row in store.feedback(SENTIMENT)] == ["film 1"]
    assert store.head_rows(SENTIMENT, 1) == [seen(second)]
    assert store.forgotten(SENTIMENT) == {first, third}
    assert store.head_orders(SENTIMENT).generation > before.generation, "whoever keeps the head begins anew"
    assert store.forget("topics", rows=[second]) == []
    assert store.forget(SENTIMENT, rows=[first, second, third + 50]) == [second]
    assert store.forgotten(SENTIMENT) == {*rows}


def test_rows_from_before_a_time_are_forgotten(store: Store, rows: list[int]) -> None:
    first, second, _ = store.feedback(SENTIMENT)
    assert store.forget(SENTIMENT, before=first.created_at) == []
    assert store.forget("topics", before=time.time() + 9) == []
    assert store.forget(SENTIMENT, rows=[second.row], before=time.time() + 9) == rows
    assert store.feedback(SENTIMENT) == []


def test_rows_that_a_job_learned_can_be_forgotten(store: Store, lease: Lease, rows: list[int]) -> None:
    store.enqueue(SENTIMENT, "rebuild", "test", {})
    job = store.next_job(lease)
    assert job
    store.claim(job, lease, 10, 3)
    store.settle(job, lease, "kept")
    assert store.forget(SENTIMENT, rows=[rows[1]]) == [rows[1]]
    store.mark_learned(SENTIMENT, {job.id: rows}, 0)
    assert store.backlog(SENTIMENT, 3).fresh == 0


def test_of_what_was_asked_the_newest_is_kept_and_all_is_forgotten(store: Store) -> None:
    store.add_requests(SENTIMENT, ["one", "two"], most=3)
    store.add_requests("topics", ["other"], most=3)
    store.add_requests(SENTIMENT, ["three", "four"], most=3)
    assert store.requests(SENTIMENT) == ["four", "three", "two"]
    assert store.forget_requests(SENTIMENT) == 3
    assert (store.requests(SENTIMENT), store.requests("topics")) == ([], ["other"])
    assert store.forget_requests(SENTIMENT) == 0

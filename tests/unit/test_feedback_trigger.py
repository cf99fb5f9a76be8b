"""When feedback sets off a rebuild, and how seldom the store is asked for it."""

from __future__ import annotations

from dataclasses import replace

from perennial.pauses import FIRST_PAUSE_S
from perennial.serve.trigger import LOOK_PERIOD_S, QUIET_S, Trigger
from perennial.split import ENOUGH_ROWS
from perennial.types import NewFeedback, ServiceRecord
from watched import SENTIMENT, WatchedStore


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


def add(store: WatchedStore, trigger: Trigger, rows: int, service: ServiceRecord = SENTIMENT) -> None:
    store.add_feedback([NewFeedback(service.name, "a film", "positive")] * rows)
    trigger.added(service, rows)


def test_the_store_is_counted_seldom(store: WatchedStore) -> None:
    trigger, many = Trigger(store, Clock()), replace(SENTIMENT, trigger_count=1000)
    for _ in range(50):
        add(store, trigger, 1, many)
    assert store.looks == 1


def test_a_due_service_is_left_alone_while_its_job_is_new(store: WatchedStore) -> None:
    clock = Clock()
    trigger = Trigger(store, clock)
    for _ in range(10):
        add(store, trigger, 4)
    assert store.looks == 1
    clock.time += QUIET_S
    add(store, trigger, 4)
    assert store.looks == 2


def test_rows_that_others_added_are_seen_in_time(store: WatchedStore) -> None:
    clock = Clock()
    trigger = Trigger(store, clock)
    add(store, trigger, 1)
    store.add_feedback([NewFeedback("sentiment", "by another server", "positive")] * 3)
    clock.time += LOOK_PERIOD_S
    trigger.added(SENTIMENT, 0)
    assert len(store.jobs()) == 1


def test_feedback_that_waited_too_long_enqueues_a_rebuild(store: WatchedStore) -> None:
    clock, many = Clock(), replace(SENTIMENT, trigger_count=1000)
    add(store, Trigger(store, clock), ENOUGH_ROWS, many)
    clock.time = store.feedback("sentiment")[0].created_at + many.trigger_age_s
    Trigger(store, clock).added(many, 0)
    (job,) = store.jobs()
    assert job.reason == "feedback has waited for 86400 s"


def test_feedback_that_waited_too_long_waits_on_while_it_is_too_little_to_judge_by(
    store: WatchedStore,
) -> None:
    clock, many = Clock(), replace(SENTIMENT, trigger_count=1000)
    add(store, Trigger(store, clock), ENOUGH_ROWS - 1, many)
    clock.time = store.feedback("sentiment")[0].created_at + many.trigger_age_s
    Trigger(store, clock).added(many, 0)
    assert store.jobs() == []


def test_a_service_whose_last_rebuild_came_to_no_verdict_is_left_alone_for_a_while(
    store: WatchedStore,
) -> None:
    clock = Clock()
    trigger = Trigger(store, clock)
    add(store, trigger, 4)
    lease = store.acquire("worker", "me", 60.0)
    assert lease
    job = store.next_job(lease)
    assert job
    store.settle(job, lease, "cancelled")
    ended_at = store.job(job.id).finished_at
    assert ended_at
    for seconds, jobs in ((LOOK_PERIOD_S, 1), (FIRST_PAUSE_S, 2)):
        clock.time = ended_at + seconds
        add(store, trigger, 4)
        assert len(store.jobs()) == jobs

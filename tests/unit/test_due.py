"""When the worker asks for a rebuild, and how long it leaves a service alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from perennial.config import ServiceSettings
from perennial.jobs.due import CHECK_PERIOD_S, Schedule
from perennial.jobs.workshop import Workshop
from perennial.pauses import FIRST_PAUSE_S
from perennial.split import ENOUGH_ROWS
from perennial.types import Job, JobState, NewFeedback, ServiceRecord

NEVER = 1_000_000
QUIET = ServiceSettings(trigger_count=NEVER, trigger_age_s=NEVER * 1e6)
NINE_HOURS_EAST = timezone(timedelta(hours=9))

Due = Callable[..., "Watched"]


class Watched:
    """A schedule at a time that is told: by default the true one, `ahead` seconds later."""

    def __init__(self, shop: Workshop, at: float | None = None) -> None:
        self.shop, self._at, self._ahead = shop, at, 0.0
        self._schedule = Schedule(shop, self._now)

    def _now(self) -> float:
        return (time.time() if self._at is None else self._at) + self._ahead

    def later(self, seconds: float = CHECK_PERIOD_S) -> list[Job]:
        """The service's jobs, newest first, once it was checked so much later."""
        self._ahead += seconds
        self._schedule.enqueue_due()
        return self.shop.store.jobs("tone")


@pytest.fixture
def due(shop: Workshop) -> Due:
    """A service with so many rows of feedback, and what sets off its rebuilds."""
    shop.store.put_service(ServiceRecord("tone", "classify", ("negative", "positive")))

    def watch(rows: int, at: float | None = None, **told: object) -> Watched:
        services = {"tone": QUIET.model_copy(update=told)}
        shop.store.add_feedback([NewFeedback("tone", f"text {row}", "positive") for row in range(rows)])
        return Watched(replace(shop, settings=shop.settings.model_copy(update={"services": services})), at)

    return watch


@pytest.fixture
def nine_hours_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EAST-9")
        time.tzset()
        yield
    time.tzset()


def test_a_schedule_goes_by_the_clock_on_the_wall(due: Due, nine_hours_east: None) -> None:
    before = datetime(2031, 5, 1, 2, 59, 59, tzinfo=NINE_HOURS_EAST).timestamp()
    watched = due(300, at=before, schedule="0 3 * * *")
    (job,) = watched.later()
    assert job.reason == "schedule 0 3 * * *"


def test_a_schedule_does_not_go_by_the_clock_of_another_zone(due: Due, nine_hours_east: None) -> None:
    before = datetime(2031, 5, 1, 2, 59, 59, tzinfo=timezone.utc).timestamp()
    assert due(300, at=before, schedule="0 3 * * *").later() == []


def test_a_rebuild_is_numbered_above_all_that_is_on_disk(due: Due) -> None:
    watched = due(300, trigger_count=300)
    watched.shop.state.bundle("tone", 7).mkdir(parents=True)
    (job,) = watched.later()
    assert (job.reason, job.release) == ("300 fresh rows", 8)


def test_feedback_that_waited_is_due_once_it_is_enough_to_judge_by(due: Due) -> None:
    watched = due(ENOUGH_ROWS - 1, trigger_age_s=100.0)
    assert watched.later(200.0) == []
    watched.shop.store.add_feedback([NewFeedback("tone", "one more", "positive")])
    (job,) = watched.later()
    assert job.reason == "feedback has waited for 100 s"


def test_a_schedule_passes_over_feedback_that_is_too_little_to_judge_by(due: Due) -> None:
    watched = due(ENOUGH_ROWS - 1, schedule="* * * * *")
    assert watched.later(60.0) == []


def settle(watched: Watched, state: JobState) -> None:
    lease = watched.shop.store.acquire("worker", "me", 60.0)
    assert lease
    job = watched.shop.store.next_job(lease)
    assert job
    watched.shop.store.settle(job, lease, state)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_came_to_no_verdict_is_tried_again_after_growing_pauses(due: Due, state: JobState) -> None:
    watched = due(300, trigger_count=300)
    assert len(watched.later()) == 1
    settle(watched, state)
    assert len(watched.later()) == 1, "its rows are as fresh as before"
    assert len(watched.later(FIRST_PAUSE_S)) == 2
    settle(watched, state)
    assert len(watched.later()) == 2, "the first pause is long over, and the second one twice as long"
    assert len(watched.later(FIRST_PAUSE_S)) == 3


def test_after_a_verdict_enough_rows_are_due_at_once(due: Due) -> None:
    watched = due(300, trigger_count=300)
    verdicts: tuple[JobState, ...] = ("refused", "kept", "rolled back")
    for count, state in enumerate(verdicts, start=1):
        assert len(watched.later()) == count
        settle(watched, state)


def test_a_build_that_failed_holds_no_rebuild_up(due: Due) -> None:
    watched = due(300, trigger_count=300)
    watched.shop.store.enqueue("tone", "build", "test", {})
    settle(watched, "failed")
    assert len(watched.later()) == 2


def test_a_schedule_does_not_wait(due: Due) -> None:
    watched = due(300, trigger_count=300, schedule="* * * * *")
    watched.later()
    settle(watched, "failed")
    assert watched.later(60.0)[0].reason == "schedule * * * * *"

"""Feedback itself as the reason for a rebuild, on a real release."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from flow.workshops import SERVICE, TEACH, lease_of, news
from perennial.jobs.due import CHECK_PERIOD_S, Schedule
from perennial.jobs.workshop import Workshop
from perennial.types import Head, HeadRow, Job
from tiny import LABELS

QUIET = TEACH.model_copy(update={"trigger_count": 10**6, "trigger_age_s": 1e12})


def due(shop: Workshop, **told: object) -> list[Job]:
    """The service's jobs after one check by a worker that has just begun."""
    settings = shop.settings.model_copy(update={"services": {SERVICE: QUIET.model_copy(update=told)}})
    ahead = iter((0.0, CHECK_PERIOD_S))
    Schedule(replace(shop, settings=settings), lambda: time.time() + next(ahead)).enqueue_due()
    return [job for job in shop.store.jobs(SERVICE) if job.kind == "rebuild"]


@pytest.fixture
def drifted(shop: Workshop) -> Workshop:
    """400 rows, most of one label: 300 were answered right before they were learned, then 100 were not."""
    rows = [replace(row, label=LABELS[0] if n % 4 else LABELS[1]) for n, row in enumerate(news(400))]
    shop.store.add_feedback(rows)
    lease = lease_of(shop)
    shop.store.add_head_rows(
        1, [HeadRow(row.row, b"", b"", n < 300) for n, row in enumerate(shop.store.feedback(SERVICE))], lease
    )
    shop.store.put_head(Head(SERVICE, 1, b"", {"golden": {"before": {"accuracy": 0.9}}}), lease)
    shop.store.release(lease)
    return shop


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"trigger_drift": True}, "drift: "),
        ({"trigger_drop": 0.05}, "drop: 50% of the last 200 answers were right, 90% of golden texts"),
        ({"trigger_shift": True}, "shift: labels of 400 rows differ from those of "),
    ],
)
def test_it_is_one_where_the_owner_says_so(drifted: Workshop, told: dict[str, object], reason: str) -> None:
    assert due(drifted) == []
    (job,) = due(drifted, **told)
    assert job.reason.startswith(reason)


def test_too_little_feedback_to_judge_by_is_none(shop: Workshop) -> None:
    shop.store.add_feedback([replace(row, label=LABELS[0]) for row in news(100)])
    assert due(shop, trigger_shift=True) == []

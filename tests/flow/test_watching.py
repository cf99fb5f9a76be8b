"""The watch of a promoted release: when it is kept, and when it goes."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace

import pytest

from fakes import FakeControl
from flow.copies import promote
from flow.workshops import SERVICE, TEACH, lease_of
from perennial.errors import BadRequest, Unavailable
from perennial.jobs import watch as watching
from perennial.jobs.release import roll_back, switch
from perennial.jobs.run import Run
from perennial.jobs.watch import watch
from perennial.jobs.workshop import Workshop
from perennial.server.control import Figures
from perennial.types import Lease

TAKEN_BACK = "it was taken back: release 1 serves"


@pytest.fixture
def lease(shop: Workshop) -> Lease:
    return lease_of(shop)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeControl:
    """It runs as the release is promoted, and answered some of what the former release was asked."""
    made = FakeControl()
    made.now = Figures(960, 40, 20_000.0)
    monkeypatch.setattr(Workshop, "control", lambda shop: made.opened())
    return made


@pytest.fixture
def run(server: FakeControl, shop: Workshop, lease: Lease) -> Run:
    """Release 2 was just promoted, and its watch is over at once."""
    made = Run(shop, promote(shop, lease), lease)
    server.now = Figures(0, 0, None)
    return made


def lasting(shop: Workshop, seconds: float) -> Workshop:
    """The same workshop, whose watches last so long."""
    services = {SERVICE: TEACH.model_copy(update={"watch_s": seconds})}
    return replace(shop, settings=shop.settings.model_copy(update={"services": services}))


def test_a_release_that_does_well_is_kept(run: Run) -> None:
    result = watch(run)
    assert "outcome" not in result
    assert result["reason"] == "0 new rows; only new right 0, only old right 0"
    assert run.shop.publisher.serving(SERVICE) == 2


def test_a_watch_that_goes_on_late_still_looks(run: Run, server: FakeControl) -> None:
    server.now = Figures(0, 1000, None)
    assert watch(run)["outcome"] == "fail"
    assert (run.shop.publisher.serving(SERVICE), run.shop.publisher.versions(SERVICE)) == (1, [1])


def test_failures_are_held_against_those_of_the_former_release(run: Run, server: FakeControl) -> None:
    assert run.job.steps["promote"]["figures_before"] == {"succeeded": 960, "failed": 40, "p99_us": 20_000.0}
    server.now = Figures(960, 40, 20_000.0)
    assert "outcome" not in watch(run)
    server.now = Figures(850, 150, 20_000.0)
    assert watch(run)["reason"] == "150 of 1000 requests failed, 4.0% did before the promotion"


def test_a_watch_that_goes_on_late_sees_that_a_person_rolled_back(run: Run) -> None:
    roll_back(run.shop, SERVICE)
    result = watch(run)
    assert (result["outcome"], result["reason"]) == ("fail", TAKEN_BACK)


def test_a_release_that_was_taken_back_leaves_the_repository_however_that_came(run: Run) -> None:
    switch(run.shop, SERVICE, 1)
    assert run.shop.publisher.versions(SERVICE) == [1, 2]
    assert watch(run)["reason"] == TAKEN_BACK
    assert run.shop.publisher.versions(SERVICE) == [1]


def test_a_roll_back_during_the_last_sleep_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.shop, over = lasting(run.shop, 3600.0), time.time() + 7200.0

    def sleep(seconds: float) -> None:
        roll_back(run.shop, SERVICE)
        monkeypatch.setattr(time, "time", lambda: over)

    monkeypatch.setattr(time, "sleep", sleep)
    assert watch(run)["reason"] == TAKEN_BACK


def test_a_server_that_is_away_for_a_moment_is_waited_for(
    run: Run, server: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PERIOD_S", 0.0)
    server.faults.extend([Unavailable("connection refused"), BadRequest("the model is not loaded yet")])
    absent = iter([nullcontext(None), nullcontext(None)])
    monkeypatch.setattr(Workshop, "control", lambda shop: next(absent, server.opened()))
    assert "outcome" not in watch(run)
    assert not server.faults and next(absent, None) is None
    assert run.shop.publisher.serving(SERVICE) == 2


def test_a_roll_back_while_the_server_is_away_is_seen(
    run: Run, server: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workshop, "control", lambda shop: nullcontext(None))
    roll_back(run.shop, SERVICE)
    assert watch(run)["reason"] == TAKEN_BACK


def test_a_release_whose_server_does_not_come_back_goes(
    run: Run, server: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE_S", 0.0)
    server.faults.extend([Unavailable("connection refused")] * 2)  # to the question, and to the switch
    result = watch(run)
    assert (result["outcome"], result["reason"]) == (
        "fail",
        "the server does not answer, 0 s after the watch",
    )
    assert not server.faults
    assert (run.shop.publisher.serving(SERVICE), run.shop.publisher.versions(SERVICE)) == (1, [1])


def test_where_no_server_runs_only_a_roll_back_counts(shop: Workshop, lease: Lease) -> None:
    run = Run(shop, promote(shop, lease), lease)
    assert watch(run) == {"reason": "no server runs"}
    roll_back(shop, SERVICE)
    assert watch(run)["reason"] == TAKEN_BACK

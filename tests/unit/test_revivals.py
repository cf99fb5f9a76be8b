"""Claims about how often a process that keeps dying is started again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from perennial.jobs import revivals as module
from perennial.jobs.revivals import LONGEST_PAUSE_S, SETTLED_S, Revivals


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    monkeypatch.setattr(module, "time", told)
    return told


def starts(revivals: Revivals, clock: Clock, seconds: int) -> list[float]:
    """When it is started again, looked at twice a second, if it dies at once each time."""
    began, at = clock.now, []
    for _ in range(2 * seconds):
        if revivals.due():
            at.append(clock.now - began)
        clock.now += 0.5
    return at


def test_the_first_revival_is_at_once_and_the_next_ones_wait_longer_and_longer(clock: Clock) -> None:
    at = starts(Revivals(), clock, 24 * 3600)
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert at[0] == 0.0
    assert pauses == [2, 4, 8, 16, *[LONGEST_PAUSE_S] * (len(pauses) - 4)]


def test_a_process_that_ran_well_for_a_while_starts_afresh(clock: Clock) -> None:
    revivals = Revivals()
    starts(revivals, clock, 20)
    clock.now += SETTLED_S
    assert revivals.due() and revivals.in_a_row == 1

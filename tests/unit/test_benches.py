"""The parts of the benches that need no server: what they schedule, and what they make of what they saw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.jobs.workshop import cores
from perennial_client import Answer
from perennial_perf.benches._bare import ways
from perennial_perf.benches._releases import answered, distance
from perennial_perf.benches._turns import Event, schedule
from perennial_perf.benches.swap import BEFORE, WORST, calm, windows_of
from perennial_perf.trace import Trace


@given(st.integers(1, 30), st.data())
def test_a_schedule_has_what_was_asked_for_and_numbers_grow(promotions: int, data: st.DataObject) -> None:
    roll_backs, failing = (data.draw(st.integers(0, promotions)) for _ in range(2))
    turns = schedule(promotions, roll_backs, failing)
    kinds = [turn.kind for turn in turns]
    counts = [kinds.count("promotion"), kinds.count("roll-back"), kinds.count("failing candidate")]
    assert counts == [promotions, roll_backs, failing]
    candidates = [turn.release for turn in turns if turn.kind != "roll-back"]
    assert candidates == list(range(3, 3 + len(candidates)))


@given(st.integers(1, 30), st.data())
def test_every_change_of_the_serving_release_is_one_to_the_other_variant(
    promotions: int, data: st.DataObject
) -> None:
    serving, previous, variants = 2, {2: 1}, {1: 0, 2: 1}
    for turn in schedule(promotions, data.draw(st.integers(0, promotions)), 0):
        assert turn.before == serving
        if turn.kind == "roll-back":
            assert turn.release == previous[serving]
        else:
            previous[turn.release] = serving
        variants[turn.release] = turn.variant
        assert variants[turn.release] != variants[serving]
        serving = turn.release


def test_answers_are_compared_over_all_labels_whatever_their_order() -> None:
    answer = Answer("b", 0.7, False, (("b", 0.7), ("a", 0.2), ("c", 0.1)), "", "text", "tone", 1)
    assert answered(answer).tolist() == [0.2, 0.7, 0.1]
    assert distance(answered(answer), np.array([0.7, 0.2, 0.1])) == pytest.approx(0.5)


def test_a_slow_second_around_a_promotion_is_not_steady() -> None:
    started = np.arange(0.0, 20.0, 0.01)
    near = np.abs(started - 10.0) < 0.5
    trace = trace_of(started, np.where(near, 0.2, 0.01))
    events = [
        Event("promotion", 9.0, 9.9, 10.0, 5.0, 0),
        Event("promotion", 14.0, 14.9, 15.0, 5.0, 0),
        Event("roll-back", 17.0, 17.0, 17.1, 5.0, 0),
        Event("failing candidate", 18.0, 18.0, 18.5, 0.0, 0),
    ]
    windows = windows_of(trace, events)
    assert windows[WORST]["p99"] == pytest.approx(200)
    assert windows[BEFORE]["p99"] == pytest.approx(10)
    assert calm(trace, events).started.min() >= 2.0, "the warm-up is not steady either"


def test_every_way_to_run_the_bare_session_is_tried_once() -> None:
    assert len(set(ways())) == len(ways())
    assert all(way.callers * way.threads == cores() for way in ways())


def trace_of(started: npt.NDArray[np.float64], latency: npt.NDArray[np.float64]) -> Trace:
    zeros = np.zeros(len(started), np.int64)
    return Trace(zeros, started, latency, zeros, (), 0.0)

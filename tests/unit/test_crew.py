"""Claims about the line of rows before the engine, and the threads that run them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest

from perennial.errors import Unavailable
from perennial.serve.batching import Layout
from perennial.serve.crew import Crew
from perennial.types import Signature, Tensors, TensorSpec

LAYOUT = Layout(
    Signature((), (TensorSpec("x", "INT64", (-1,)),), (), (TensorSpec("total", "INT64", (1,)),), ())
)
Run = Callable[[Tensors], Tensors]


def total(tensors: Tensors) -> Tensors:
    return {"total": tensors["x"].sum(axis=1, keepdims=True)}


@contextmanager
def crew(run: Run = total, workers: int = 2, capacity: int = 1000) -> Iterator[Crew]:
    made = Crew(LAYOUT, run, workers, capacity)
    yield made
    made.close()


def ask(crew: Crew, *rows: list[int]) -> Future[Tensors]:
    """A promise of the answer to a request of these rows."""
    promise: Future[Tensors] = Future()

    def reply(result: Tensors | Exception) -> None:
        if isinstance(result, Exception):
            promise.set_exception(result)
        else:
            promise.set_result(result)

    crew.submit({"x": np.array(rows, dtype=np.int64)}, reply)
    return promise


def test_every_request_is_answered_with_its_own_rows() -> None:
    with crew() as made:
        promises = [ask(made, *[[number] * (1 + number % 7)] * (1 + number % 3)) for number in range(60)]
        for number, promise in enumerate(promises):
            expected = [[number * (1 + number % 7)]] * (1 + number % 3)
            assert promise.result(5)["total"].tolist() == expected


def test_a_row_that_fails_does_not_fail_those_it_ran_with() -> None:
    def run(tensors: Tensors) -> Tensors:
        time.sleep(0.01)  # so that the others line up behind the first and run together
        if (tensors["x"] == 13).any():
            raise ValueError("thirteen")
        return total(tensors)

    with crew(run, workers=1) as made:
        promises = [ask(made, [number, number]) for number in (1, 2, 13, 3)]
        with pytest.raises(ValueError, match="thirteen"):
            promises[2].result(5)
        assert [promises[index].result(5)["total"].item() for index in (0, 1, 3)] == [2, 4, 6]


def test_a_full_line_refuses_a_whole_request() -> None:
    running, go_on = threading.Event(), threading.Event()

    def run(tensors: Tensors) -> Tensors:
        running.set()
        go_on.wait(5)
        return total(tensors)

    with crew(run, workers=1, capacity=3) as made:
        promises = [ask(made, [1])]
        running.wait(5)
        promises.append(ask(made, [1], [2]))
        with pytest.raises(Unavailable, match="2 rows wait"):
            ask(made, [1], [2])
        promises.append(ask(made, [3]))
        go_on.set()
        assert [len(promise.result(5)["total"]) for promise in promises] == [1, 2, 1]


def test_it_is_idle_only_while_nothing_waits_or_runs() -> None:
    running, go_on = threading.Event(), threading.Event()

    def run(tensors: Tensors) -> Tensors:
        running.set()
        go_on.wait(5)
        return total(tensors)

    with crew(run, workers=1) as made:
        assert made.idle
        promises = [ask(made, [1]), ask(made, [2])]
        assert not made.idle
        running.wait(5)
        go_on.set()
        for promise in promises:
            promise.result(5)
        ends_at = time.monotonic() + 5
        while not made.idle:
            assert time.monotonic() < ends_at


def test_workers_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=5)

    def run(tensors: Tensors) -> Tensors:
        meeting.wait()
        return total(tensors)

    with crew(run, workers=2) as made:
        for promise in [ask(made, [1]), ask(made, [1])]:
            promise.result(5)


def test_a_reply_that_cannot_be_sent_does_not_end_the_worker() -> None:
    def gone(_: Tensors | Exception) -> None:
        raise RuntimeError("the client is gone")

    with crew(workers=1) as made:
        made.submit({"x": np.ones((1, 2), np.int64)}, gone)
        assert ask(made, [4]).result(5)["total"].item() == 4


def test_closing_answers_what_waits() -> None:
    made = Crew(LAYOUT, total, 1)
    promises = [ask(made, [number]) for number in range(20)]
    made.close()
    assert [promise.result(0)["total"].item() for promise in promises] == list(range(20))

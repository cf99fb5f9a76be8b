"""The line before the store: in order, bounded, and everyone in it is served."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from perennial.errors import Unavailable
from perennial.serve.line import Line


class Counter:
    """Serves what it is given once `open` is set, and tells that it was given something."""

    def __init__(self) -> None:
        self.open, self.asked = threading.Event(), threading.Event()
        self.groups: list[list[str]] = []

    def serve(self, items: list[str]) -> None:
        self.asked.set()
        assert self.open.wait(10)
        self.groups.append(items)
        if "bad" in items:
            raise RuntimeError("a defect")


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def line(counter: Counter) -> Iterator[Line[str]]:
    """A line of at most 6 rows, served by 4, whose first item is with a counter that is not open yet."""
    made: Line[str] = Line(counter.serve, most=6, together=4, aim="for the counter")
    made.join("first", 1)
    assert counter.asked.wait(10)
    yield made
    counter.open.set()
    made.close()


def test_those_who_wait_are_served_together_in_order(line: Line[str], counter: Counter) -> None:
    for name, rows in (("a", 1), ("b", 3), ("c", 1), ("d", 1)):
        line.join(name, rows)
    counter.open.set()
    line.close()
    assert counter.groups == [["first"], ["a", "b"], ["c", "d"]]


def test_a_full_line_takes_nobody(line: Line[str], counter: Counter) -> None:
    line.join("a", 4)
    with pytest.raises(Unavailable, match="4 rows wait for the counter already"):
        line.join("b", 3)
    line.join("c", 2)
    counter.open.set()
    line.close()
    assert counter.groups == [["first"], ["a"], ["c"]]


def test_it_is_idle_only_while_nobody_waits_or_is_served(line: Line[str], counter: Counter) -> None:
    assert not line.idle
    line.join("a", 1)
    counter.open.set()
    ends_at = time.monotonic() + 5
    while not line.idle:
        assert time.monotonic() < ends_at
    assert counter.groups == [["first"], ["a"]]


def test_one_larger_than_all_is_served_alone(line: Line[str], counter: Counter) -> None:
    line.join("whale", 100)
    counter.open.set()
    line.close()
    assert counter.groups == [["first"], ["whale"]]


def test_a_defect_ends_one_group_and_not_the_line(
    line: Line[str], counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    line.join("bad", 4)
    line.join("good", 1)
    counter.open.set()
    line.close()
    assert counter.groups == [["first"], ["bad"], ["good"]]
    assert "1 requests were not served" in caplog.text

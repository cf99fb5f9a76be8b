"""Claims about a release's memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial import memory
from perennial.split import fingerprint
from perennial.types import Example

rows = st.lists(st.builds(Example, text=st.text("ab ", max_size=4), label=st.sampled_from("xy")), max_size=40)
sizes = st.integers(0, 12)


def different(count: int) -> list[Example]:
    return [Example(f"text {number}", "x") for number in range(count)]


@given(rows, sizes, st.integers(0, 5))
def test_it_is_bounded_and_holds_no_text_twice(rows: list[Example], size: int, seed: int) -> None:
    kept, seen = memory.update([], 0, rows, size, seed)
    texts = [fingerprint(row.text) for row in kept]
    assert len(set(texts)) == len(texts) == min(size, len({fingerprint(row.text) for row in rows}))
    assert len(kept) <= seen <= len(rows)
    assert set(kept) <= set(rows)


@given(rows, sizes, st.integers(0, 40))
def test_rows_may_come_in_one_call_or_in_many(rows: list[Example], size: int, cut: int) -> None:
    first, seen = memory.update([], 0, rows[:cut], size, seed=3)
    assert memory.update(first, seen, rows[cut:], size, seed=3) == memory.update([], 0, rows, size, seed=3)


@pytest.mark.parametrize(("count", "size"), [(12, 4), (40, 10)])
def test_every_row_is_as_likely_to_be_remembered(count: int, size: int) -> None:
    draws, times = 1500, dict.fromkeys(different(count), 0)
    for seed in range(draws):
        for row in memory.update([], 0, different(count), size, seed)[0]:
            times[row] += 1
    expected = draws * size / count
    spread = math.sqrt(expected * (1 - size / count))
    assert all(abs(seen - expected) < 4 * spread for seen in times.values())


def test_the_latest_correction_of_a_text_holds() -> None:
    kept, seen = memory.update(different(5), 5, [Example("text 3", "y")], size=5, seed=0)
    assert [row.label for row in kept] == ["x", "x", "x", "y", "x"]
    assert seen == 5


def test_a_smaller_memory_keeps_a_sample_of_the_larger() -> None:
    kept, seen = memory.update(different(50), 500, [], size=10, seed=0)
    assert len(kept) == 10 and set(kept) < set(different(50)) and kept != different(10)
    assert seen == 500


def test_what_is_given_is_left_as_it_was() -> None:
    old = different(5)
    memory.update(old, 5, [Example("text 3", "y"), Example("new", "y")], size=6, seed=0)
    assert old == different(5)

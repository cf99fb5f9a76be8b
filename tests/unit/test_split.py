"""Claims about splitting rows by their text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.split import place, split
from perennial.types import Example

rows = st.lists(st.builds(Example, text=st.text("aAbc \n"), label=st.sampled_from("ab")), max_size=30)
shares = st.floats(0, 0.5)


@given(rows, shares, shares)
def test_every_row_is_in_one_set_and_no_text_in_two(
    rows: list[Example], validation: float, held_out: float
) -> None:
    sets = split(rows, validation, held_out)
    texts = [{row.text for row in part} for part in (sets.train, sets.validation, sets.held_out)]
    assert len(sets.train) + len(sets.validation) + len(sets.held_out) == len(rows)
    assert sum(map(len, texts)) == len(set.union(*texts))


@given(rows, rows, shares, shares)
def test_a_text_keeps_its_place_whatever_stands_around_it(
    rows: list[Example], others: list[Example], validation: float, held_out: float
) -> None:
    alone, together = split(rows, validation, held_out), split(others + rows, validation, held_out)
    assert together.held_out[len(together.held_out) - len(alone.held_out) :] == alone.held_out
    assert {row.text for row in alone.train}.isdisjoint(row.text for row in together.held_out)


@given(rows, shares)
def test_what_a_small_share_holds_out_a_larger_one_does_too(rows: list[Example], share: float) -> None:
    small, large = split(rows, 0.1, share), split(rows, 0.2, share + 0.1)
    assert {row.text for row in small.held_out} <= {row.text for row in large.held_out}


def test_places_are_the_same_in_every_process_and_for_ever() -> None:
    assert place("a plain text") == 0.052164074985633135


def test_spacing_and_case_make_no_second_text() -> None:
    assert place("  A Plain\n text ") == place("a plain text")


def test_shares_are_met_on_average() -> None:
    sets = split([Example(f"text {number}", "a") for number in range(4000)], 0.1, 0.25)
    assert len(sets.held_out) / 4000 == pytest.approx(0.25, abs=0.03)
    assert len(sets.validation) / 4000 == pytest.approx(0.1, abs=0.02)


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="lower one"):
        split([], 0.6, 0.5)

"""What balancing does to the weights of rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.jobs.balance import balanced
from perennial.types import Example

ROWS = st.lists(
    st.builds(Example, text=st.just("x"), label=st.sampled_from("abc"), weight=st.floats(0.1, 1)), min_size=1
)


@given(ROWS, ROWS)
def test_power_0_changes_nothing(fresh: list[Example], old: list[Example]) -> None:
    again = [*zip(balanced(fresh, old, 0.0, str), (fresh, old), strict=True)]
    for rows, before in again:
        assert [row.weight for row in rows] == pytest.approx([row.weight for row in before])


def test_power_1_gives_every_label_the_same_sum_over_fresh_and_old() -> None:
    fresh = [Example(str(n), "common") for n in range(19)]
    old = [Example("rare one", "rare")]
    rows = [row for part in balanced(fresh, old, 1.0, str) for row in part]
    sums = {label: sum(row.weight for row in rows if row.label == label) for label in ("common", "rare")}
    assert sums["common"] == pytest.approx(sums["rare"]) == pytest.approx(10)


@given(ROWS, ROWS, st.floats(0, 1))
def test_trust_is_kept_between_rows_of_one_label(
    fresh: list[Example], old: list[Example], power: float
) -> None:
    after = balanced(fresh, old, power, str)[0]
    for label in "abc":
        ratios = [
            new.weight / row.weight for new, row in zip(after, fresh, strict=True) if row.label == label
        ]
        assert ratios == pytest.approx(ratios[:1] * len(ratios))

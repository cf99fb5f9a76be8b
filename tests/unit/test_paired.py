"""Claims about the statistics under the gates, checked against published and exact figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, multinomial

from perennial.gates._paired import Paired

halves = st.sampled_from([0.0, 0.5, 1.0])


def cells(texts: int, ahead: int, behind: int) -> Paired:
    return Paired(texts, ahead, behind, ahead, behind)


def test_the_interval_is_tangos() -> None:
    """Of 21 children: Bentur 2009, in Fagerland, Lydersen and Laake, Contingency Tables, 2017, ch. 8."""
    paired = cells(21, 1, 7)
    assert (paired.low(0.025), paired.high(0.025)) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("texts", [30, 100, 1000])
def test_no_difference_in_sight_is_no_proof_of_none(texts: int) -> None:
    """The rule of three, in its score form: z² / (n + z²)."""
    assert cells(texts, 0, 0).low(0.05) == pytest.approx(-2.7055 / (texts + 2.7055), rel=1e-3)


@pytest.mark.parametrize("differ", [0.0, 0.02, 0.1, 0.3])
def test_a_drop_of_the_margin_is_rarely_let_through(
    differ: float, texts: int = 100, margin: float = 0.03
) -> None:
    """Exactly, by going through all that can happen to a candidate that is behind by the margin."""
    ahead, behind = (cell.ravel() for cell in np.indices((texts + 1, texts + 1)))
    possible = ahead + behind <= texts
    counts = np.stack([ahead, behind, texts - ahead - behind], axis=1)[possible]
    shares = (differ / 2, differ / 2 + margin, 1 - differ - margin)
    chances = multinomial.pmf(counts, texts, shares)
    likely = chances > 1e-7
    passes = [cells(texts, up, down).low(0.05) > -margin for up, down, _ in counts[likely]]
    assert chances[likely] @ passes < 0.055


@given(st.lists(st.tuples(halves, halves), min_size=1, max_size=60))
def test_the_interval_holds_the_difference_and_turns_with_the_sides(sides: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(sides).T
    paired = Paired.of(ours, theirs)
    assert paired.difference == pytest.approx(float(np.mean(ours - theirs)))
    assert paired.low(0.05) <= paired.difference <= paired.high(0.05)
    assert Paired.of(theirs, ours).low(0.05) == pytest.approx(-paired.high(0.05), abs=1e-9)


@pytest.mark.parametrize("differ", [3, 10, 41, 100])
def test_equals_are_rarely_found_better(differ: int) -> None:
    """Exactly: among texts on which equals differ, each is as likely to go either way."""
    chances = binom.pmf(np.arange(differ + 1), differ, 0.5)
    found_better = [cells(1000, ahead, differ - ahead).p_better() <= 0.05 for ahead in range(differ + 1)]
    assert chances @ found_better <= 0.05


def test_mcnemars_test_is_exact_and_one_sided() -> None:
    assert cells(100, 5, 0).p_better() == pytest.approx(0.5**5)
    assert cells(100, 0, 0).p_better() == 1.0


def test_advice_is_about_enough_and_none_where_more_rows_are_hopeless() -> None:
    paired = cells(60, 0, 0)
    more = paired.more(lambda grown: grown.low(0.05) > -0.03)
    assert more is not None and 20 < more < 40  # 88 texts without a difference show 3 points
    assert cells(200, 10, 20).more(lambda grown: grown.difference > 0) is None

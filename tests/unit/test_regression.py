"""How much less likely a candidate holds texts, and how surely."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perennial.jobs.regression import _interval, compared


def test_the_growth_of_perplexity_is_a_share_with_an_interval() -> None:
    assert _interval(np.zeros(40), 0.05) == (0.0, 0.0)
    assert _interval(np.full(40, math.log(1.1)), 0.05) == pytest.approx((0.1, 0.1))
    low, high = _interval(np.array([0.0, 0.1] * 20), 0.05)
    assert low < math.expm1(0.05) < high


def test_it_is_the_surer_the_more_texts_there_are() -> None:
    few, many = (_interval(np.array([-0.2, 0.2] * count), 0.05) for count in (10, 1000))
    assert few[0] < many[0] < 0 < many[1] < few[1]


def test_it_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    above = [_interval(rng.normal(0.05, 0.1, 64), 0.05)[1] < math.expm1(0.05) for _ in range(2000)]
    assert np.mean(above) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("growth", "outcome"), [(-0.1, "pass"), (0.0, "pass"), (0.019, "inconclusive"), (0.1, "fail")]
)
def test_what_has_surely_unlearned_too_much_fails(growth: float, outcome: str) -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(-2.0, 0.5, 64)
    ours = theirs - math.log1p(growth) + rng.normal(0.0, 0.02, 64)
    verdict = compared(ours, theirs, margin=0.02, alpha=0.05)
    assert verdict.outcome == outcome and verdict.reason.startswith("perplexity grows by [")
    ratio = verdict.figures["golden.perplexity.candidate"] / verdict.figures["golden.perplexity.serving"]
    assert ratio == pytest.approx(1 + growth, abs=0.01)

"""What a candidate that writes has unlearned, and how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from perennial.jobs.regression import Limits, Recital, _interval, compared
from perennial.types import Array

LIMITS = Limits(perplexity=0.02, flips=0.1, alpha=0.05)


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


def recital(logarithms: Array, right: Array | None = None, margins: Sequence[float] = ()) -> Recital:
    right = np.zeros(len(logarithms)) if right is None else right
    return Recital(np.exp(logarithms), right, np.array(margins, float))


@pytest.mark.parametrize(
    ("growth", "outcome"), [(-0.1, "pass"), (0.0, "pass"), (0.019, "inconclusive"), (0.1, "fail")]
)
def test_what_has_surely_unlearned_too_much_fails(growth: float, outcome: str) -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(-2.0, 0.5, 64)
    ours = theirs - math.log1p(growth) + rng.normal(0.0, 0.02, 64)
    verdict = compared(recital(ours), recital(theirs), LIMITS)
    assert verdict.outcome == outcome and "growth of the perplexity in [" in verdict.reason
    ratio = verdict.figures["golden.perplexity.candidate"] / verdict.figures["golden.perplexity.serving"]
    assert ratio == pytest.approx(1 + growth, abs=0.01)


@pytest.mark.parametrize(
    ("known", "lost", "outcome"),
    [
        (0, 0, "pass"),
        (10, 1, "pass"),
        (10, 5, "fail"),
        (60, 1, "pass"),
        (60, 5, "inconclusive"),
        (60, 15, "fail"),
    ],
)
def test_what_was_written_word_by_word_is_kept(known: int, lost: int, outcome: str) -> None:
    """Of ten texts one that is lost tells little; of sixty five might be more than a tenth."""
    same = np.full(64, -1.0)
    theirs, ours = (np.where(np.arange(64) < count, 1.0, 0.9) for count in (known, known - lost))
    verdict = compared(recital(same, ours), recital(same, theirs), LIMITS)
    assert verdict.outcome == outcome
    assert verdict.figures["golden.exact.serving"] == known / 64
    assert verdict.figures["golden.next_tokens.candidate"] == pytest.approx(0.9 + 0.1 * (known - lost) / 64)


@pytest.mark.parametrize(
    ("pairs", "away", "outcome"),
    [
        (0, 0, "pass"),
        (12, 6, "pass"),
        (12, 11, "fail"),
        (50, 5, "pass"),
        (50, 22, "inconclusive"),
        (50, 40, "fail"),
    ],
)
def test_of_two_answers_the_wanted_one_becomes_likelier(pairs: int, away: int, outcome: str) -> None:
    """By how it moved, not by where it stands: of what serves, most rejected answers are its own."""
    same, before = np.full(64, -1.0), np.full(pairs, -30.0)
    after = before + np.where(np.arange(pairs) < away, -1.0, 10.0)
    verdict = compared(recital(same, margins=after), recital(same, margins=before), LIMITS)
    assert verdict.outcome == outcome
    assert verdict.figures.get("fresh.preferred", 1.0) == pytest.approx(1 - away / max(1, pairs))

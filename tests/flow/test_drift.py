"""When feedback says that a release no longer fits what it is asked."""

from __future__ import annotations

from random import Random

from perennial.jobs.drift import error_rose, fell_below, labels_shifted


def answers(*wrong: tuple[float, int], seed: int = 0) -> list[bool]:
    """For each share of wrong answers so many of them."""
    rng = Random(seed)
    return [rng.random() >= share for share, count in wrong for _ in range(count)]


def test_an_error_that_rises_is_told_with_both_figures() -> None:
    told = error_rose(answers((0.2, 500), (0.6, 300)))
    now, before = (int(word.rstrip("%")) for word in told.split() if word.endswith("%"))
    assert 40 < now < 70 and 15 < before < 25


def test_an_error_that_stays_is_not_told() -> None:
    assert sum(bool(error_rose(answers((0.3, 1000), seed=seed))) for seed in range(50)) <= 2


def test_an_error_that_falls_is_not_told_and_ends_a_rise() -> None:
    assert error_rose(answers((0.6, 500), (0.2, 300))) == ""
    assert error_rose(answers((0.2, 500), (0.7, 300), (0.2, 400))) == ""


def test_other_labels_than_before_are_told_and_the_same_ones_in_any_number_are_not() -> None:
    before = ["good", "bad"] * 500
    assert "V = 0." in labels_shifted(["good"] * 150 + ["bad"] * 30, before)
    assert labels_shifted(["new"] * 40 + before[:40], before)
    assert labels_shifted(["good"] * 55 + ["bad"] * 45, before) == ""
    slight = ["good"] * 5400 + ["bad"] * 4600
    assert labels_shifted(slight, before * 10) == "", "sure, and of no account"
    assert labels_shifted([], before) == labels_shifted(["good"], ["good"]) == ""


def test_an_accuracy_counts_as_fallen_when_it_surely_has_by_more_than_is_allowed() -> None:
    assert fell_below([True] * 100 + [False] * 100, 0.8, 0.1).startswith("50% of the last 200")
    assert fell_below([True] * 135 + [False] * 65, 0.8, 0.1) == "", "may be chance"
    assert fell_below([False] * 50, 0.8, 0.1) == "", "too few"
    assert fell_below([False] * 200, 0.05, 0.1) == "", "nothing is below nothing"

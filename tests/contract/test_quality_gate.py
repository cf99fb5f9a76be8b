"""What the quality gate asks for beyond a gain and no loss on the whole: of slices, of flips, of calibration,
of those who said what was learned, and of the golden set's use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fakes import FakePredictor
from perennial.types import Example, Verdict
from tiny import LABELS
from told import Says, examples, gate, right, wrong, wrong_first

Predict = Callable[..., FakePredictor]
GOLDEN, FRESH = examples("golden", 900), examples("fresh", 300)
SERVING = right(GOLDEN) | wrong_first(FRESH, 60)
BETTER = right(GOLDEN) | wrong_first(FRESH, 20)


def judge(
    predictor: Predict, candidate: Says, *, fresh: list[Example] = FRESH, serving: Says = SERVING, **told: Any
) -> Verdict:
    sides = predictor(candidate), predictor(serving)
    verdict: Verdict = gate("quality", **told).judge(*sides, {"golden": GOLDEN, "fresh": fresh})
    return verdict


def wrong_on(rows: list[Example]) -> Says:
    return {row.text: wrong(row.label) for row in rows}


def test_a_better_candidate_passes_and_its_slices_are_told(predictor: Predict) -> None:
    verdict = judge(predictor, BETTER)
    assert verdict.passed, verdict
    for name in (*(f"label {label}" for label in LABELS), "short texts"):
        assert verdict.figures[f"golden, {name}.texts"] >= 100
        assert verdict.figures[f"fresh, {name}.low"] > -0.1


def test_a_loss_on_one_label_alone_is_found_though_the_whole_hides_it(predictor: Predict) -> None:
    lost = wrong_on([row for row in GOLDEN if row.label == "neutral"][:60])
    serving = SERVING | wrong_on([row for row in GOLDEN if row.label == "negative"][:60])
    verdict = judge(predictor, BETTER | lost, serving=serving)
    assert verdict.figures["golden.difference"] == 0.0
    assert verdict.outcome == "fail"
    assert verdict.reason.startswith("golden, label neutral: -20.0 points")


def from_shop(texts: int) -> list[Example]:
    """Fresh rows of which so many, of all labels and lengths, came from a shop."""
    ours = set(Random(0).sample(range(len(FRESH)), texts))
    return [replace(row, source="shop" if place in ours else "blog") for place, row in enumerate(FRESH)]


@pytest.mark.parametrize(
    ("texts", "lost", "outcome"),
    [(120, 40, "fail"), (120, 9, "inconclusive"), (119, 9, "pass"), (60, 30, "fail")],
)
def test_a_loss_on_one_source_alone_is_found_where_it_has_enough_texts_to_tell(
    texts: int, lost: int, outcome: str, predictor: Predict
) -> None:
    fresh = from_shop(texts)
    shop = [row for row in fresh if row.source == "shop"]
    serving = right(GOLDEN) | wrong_on(fresh) | right(shop)
    verdict = judge(predictor, right(GOLDEN + fresh) | wrong_on(shop[:lost]), fresh=fresh, serving=serving)
    assert verdict.outcome == outcome, verdict
    assert ("fresh, source shop: -" in verdict.reason) == (outcome != "pass")


def test_what_one_source_alone_gains_from_is_no_gain(predictor: Predict) -> None:
    """As one does that has rows of its own held out, whatever it taught."""
    everyone = [replace(row, source=f"user {place % 20}") for place, row in enumerate(FRESH)]
    mallorys = [*(replace(row, source="mallory") for row in FRESH[:60]), *everyone[60:]]
    all_right = right(GOLDEN) | right(FRESH)
    verdict = judge(predictor, all_right, fresh=mallorys)
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.startswith("fresh without mallory: +0.0 points")
    assert judge(predictor, all_right, fresh=everyone).passed
    alone = [replace(row, source="me") for row in FRESH]
    assert judge(predictor, all_right, fresh=alone).passed, "who sends most of the rows is the users"


def test_a_rare_label_that_is_learned_is_a_gain(predictor: Predict) -> None:
    """In macro recall; in accuracy too few texts tell, and as many are lost."""
    rare = [replace(row, label="neutral" if number < 12 else "positive") for number, row in enumerate(FRESH)]
    serving = right(GOLDEN) | right(rare) | wrong_on(rare[:12])
    candidate = right(GOLDEN) | right(rare) | wrong_on(rare[12:22])
    verdict = judge(predictor, candidate, fresh=rare, serving=serving)
    assert verdict.passed, verdict
    assert "macro recall +48.3 points, better" in verdict.reason


def test_a_candidate_that_changes_too_many_answers_fails(predictor: Predict) -> None:
    """Where it gains as many, no other figure shows it."""
    some = Random(0).sample(GOLDEN, 300)
    serving, candidate = SERVING | wrong_on(some[:150]), BETTER | wrong_on(some[150:])
    wide = {"margin": 0.1, "slice_margin": 0.2}
    verdict = judge(predictor, candidate, serving=serving, **wide)
    assert verdict.outcome == "fail"
    assert verdict.reason.startswith("share of golden that turns wrong in [0.14")
    assert judge(predictor, candidate, serving=serving, **wide, most_flips=0.25).passed


def test_a_candidate_that_is_less_sure_of_the_same_answers_fails(predictor: Predict) -> None:
    held_out = {"golden": GOLDEN, "fresh": FRESH}
    vague = predictor(BETTER, off_by=1.5)
    verdict = gate("quality").judge(vague, predictor(SERVING), held_out)
    assert verdict.outcome == "fail"
    assert "calibration error of golden, above serving's" in verdict.reason
    assert verdict.figures["golden.candidate.calibration_error"] > 0.3
    assert gate("quality").judge(predictor(SERVING), vague, held_out).outcome == "fail", "it is no better"


def test_a_refresh_need_not_gain_but_may_lose_nowhere(predictor: Predict) -> None:
    same = judge(predictor, SERVING, must_gain=False)
    assert same.passed and same.reason.startswith("a refresh, which need not gain; golden: +0.0 points")
    assert judge(predictor, SERVING).outcome == "inconclusive"
    lost = wrong_on([row for row in FRESH if row.label == "neutral"])
    assert judge(predictor, SERVING | lost, must_gain=False).outcome == "fail"


def test_each_candidate_that_the_golden_set_judges_must_show_more(predictor: Predict) -> None:
    candidate = BETTER | wrong_on(GOLDEN[:9])
    lows = [judge(predictor, candidate, look=look).figures["golden.low"] for look in (1, 2, 10)]
    assert lows == sorted(lows, reverse=True) and lows[0] > lows[2]
    assert judge(predictor, candidate, look=1).passed
    assert judge(predictor, candidate, look=20).outcome == "inconclusive"


def test_a_golden_set_that_is_used_up_says_so_and_the_way_out(predictor: Predict) -> None:
    verdict = judge(predictor, BETTER, look=21)
    assert verdict.outcome == "inconclusive"
    assert "20 candidates were judged by these texts already" in verdict.reason
    assert "perennial build" in verdict.reason and "golden_looks" in verdict.reason

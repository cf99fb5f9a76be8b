"""Claims about every gate, and about what each of them lets through."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from fakes import FakePredictor
from perennial import plugins
from perennial.gates.guardrails import _circles
from perennial.types import Example, Verdict
from told import Says, examples, gate, right, right_with_chance, wrong_first

Predict = Callable[..., FakePredictor]
SETS = ("golden", "fresh", "parity", "latency")

every_gate = pytest.mark.parametrize("name", plugins.names("gates"))


@every_gate
@pytest.mark.parametrize("count", [0, 1, 29])
def test_too_few_rows_are_inconclusive(name: str, count: int, predictor: Predict) -> None:
    held_out = {key: examples(key, count) for key in SETS if count}
    both = predictor(right([row for rows in held_out.values() for row in rows]))
    for baseline in (both, None):
        verdict = gate(name).judge(both, baseline, held_out)
        assert verdict.outcome == "inconclusive"
        assert str(count) in verdict.reason


@every_gate
def test_a_row_that_was_sent_again_is_not_one_more(name: str, predictor: Predict) -> None:
    held_out = {key: examples(key, 10) * 20 for key in SETS}
    both = predictor(right([row for rows in held_out.values() for row in rows]))
    assert gate(name).judge(both, both, held_out).outcome == "inconclusive"


@every_gate
def test_a_verdict_is_one_line_and_finite_figures(name: str, predictor: Predict) -> None:
    held_out = {key: examples(key, 60) for key in SETS}
    rows = [row for rows in held_out.values() for row in rows]
    verdict = gate(name).judge(predictor(right(rows)), predictor(wrong_first(rows, 200)), held_out)
    assert (verdict.gate, verdict.passed) == (name, verdict.outcome == "pass")
    assert verdict.reason and "\n" not in verdict.reason
    assert verdict.figures and all(math.isfinite(value) for value in verdict.figures.values())
    assert json.loads(json.dumps(asdict(verdict), allow_nan=False))["outcome"] == verdict.outcome


class TestQuality:
    def judge(
        self, predictor: Predict, candidate: Says, serving: Says | None, **sets: list[Example]
    ) -> Verdict:
        baseline = None if serving is None else predictor(serving)
        verdict: Verdict = gate("quality", margin=0.02).judge(predictor(candidate), baseline, sets)
        return verdict

    def outcomes(self, predictor: Predict, golden: float, fresh: float, draws: int) -> list[str]:
        """Draws of a candidate that is right with these chances, against a serving release with 0.8."""
        sets, rng = {"golden": examples("golden", 200), "fresh": examples("fresh", 80)}, Random(7)
        found = []
        for _ in range(draws):
            sides = [
                right_with_chance(sets["golden"], on_golden, rng)
                | right_with_chance(sets["fresh"], on_fresh, rng)
                for on_golden, on_fresh in ((golden, fresh), (0.8, 0.8))
            ]
            found.append(self.judge(predictor, *sides, **sets).outcome)
        return found

    def test_a_worse_candidate_is_refused(self, predictor: Predict) -> None:
        assert self.outcomes(predictor, golden=0.7, fresh=0.7, draws=30).count("pass") == 0

    def test_a_candidate_that_forgot_is_refused_however_much_it_learned(self, predictor: Predict) -> None:
        assert self.outcomes(predictor, golden=0.7, fresh=0.97, draws=20).count("pass") <= 1

    def test_equal_on_fresh_rows_is_not_taken_for_better(self, predictor: Predict) -> None:
        """With a chance of at most 5 %: 1.5 of 30, and three standard deviations more."""
        assert self.outcomes(predictor, golden=1.0, fresh=0.8, draws=30).count("pass") <= 5

    def test_a_better_candidate_passes(self, predictor: Predict) -> None:
        assert self.outcomes(predictor, golden=0.95, fresh=0.97, draws=20).count("pass") >= 15

    def test_a_candidate_that_is_surely_worse_fails_and_the_reason_gives_the_interval(
        self, predictor: Predict
    ) -> None:
        golden, fresh = examples("golden", 200), examples("fresh", 100)
        serving = right(golden) | wrong_first(fresh, 50)
        verdict = self.judge(
            predictor, wrong_first(golden, 40) | right(fresh), serving, golden=golden, fresh=fresh
        )
        assert verdict.outcome == "fail"
        assert "golden: -20.0 points [-26" in verdict.reason
        assert verdict.figures["golden.candidate.accuracy"] == pytest.approx(0.8)
        assert verdict.figures["golden.serving.macro_f1"] == 1.0

    def test_without_fresh_rows_equals_are_inconclusive(self, predictor: Predict) -> None:
        golden = examples("golden", 300)
        verdict = self.judge(predictor, right(golden), right(golden), golden=golden)
        assert verdict.outcome == "inconclusive"
        assert "0 better, 0 worse" in verdict.reason

    def test_an_inconclusive_verdict_says_how_many_rows_would_do(self, predictor: Predict) -> None:
        golden, fresh = examples("golden", 60), examples("fresh", 60)
        serving = right(golden) | wrong_first(fresh, 12)
        verdict = self.judge(predictor, right(golden) | right(fresh), serving, golden=golden, fresh=fresh)
        assert verdict.outcome == "inconclusive"
        assert "golden: +0.0 points" in verdict.reason and "about 130 more such texts" in verdict.reason

    def test_a_gain_on_a_handful_of_pairs_is_no_pass(self, predictor: Predict) -> None:
        golden, fresh = examples("golden", 300), examples("fresh", 100)
        serving = right(golden) | wrong_first(fresh, 4)
        verdict = self.judge(predictor, right(golden) | right(fresh), serving, golden=golden, fresh=fresh)
        assert verdict.outcome == "inconclusive"
        assert verdict.figures["fresh.p_better"] == pytest.approx(0.5**4)

    def test_nan_fails_on_either_set(self, predictor: Predict) -> None:
        golden, fresh = examples("golden", 100), examples("fresh", 100)
        serving = wrong_first(golden + fresh, 150)
        for sane in (golden, fresh):
            verdict = self.judge(predictor, right(sane), serving, golden=golden, fresh=fresh)
            assert verdict.outcome == "fail"
            assert "NaN or infinity for 100 of 100 texts" in verdict.reason

    def test_a_first_build_must_beat_the_most_frequent_label(self, predictor: Predict) -> None:
        golden = [replace(row, label="neutral") if number < 90 else row for number, row in
                  enumerate(examples("golden", 150))]  # fmt: skip
        constant = {row.text: "neutral" for row in golden}
        assert self.judge(predictor, right(golden), None, golden=golden).outcome == "pass"
        assert self.judge(predictor, constant, None, golden=golden).outcome == "inconclusive"
        assert self.judge(predictor, wrong_first(golden, 100), None, golden=golden).outcome == "fail"


class TestParity:
    rows = examples("parity", 200)
    golden = examples("golden", 300)

    def judge(self, predictor: Predict, said: Says, golden: list[Example], **told: float) -> Verdict:
        checkpoint = predictor(right(self.rows) | right(self.golden))
        held_out = {"parity": self.rows, "golden": golden}
        verdict: Verdict = gate("parity").judge(predictor(said, **told), checkpoint, held_out)
        return verdict

    def test_the_same_function_passes_without_labels(self, predictor: Predict) -> None:
        assert self.judge(predictor, right(self.rows), [], off_by=1e-4).outcome == "pass"

    def test_rounding_that_changes_few_answers_passes_on_the_labelled_set(self, predictor: Predict) -> None:
        said = wrong_first(self.rows, 3) | right(self.golden)
        assert self.judge(predictor, said, self.golden, off_by=0.05).outcome == "pass"
        assert self.judge(predictor, said, [], off_by=0.05).outcome == "inconclusive"

    def test_other_answers_fail(self, predictor: Predict) -> None:
        verdict = self.judge(predictor, wrong_first(self.rows, 30) | right(self.golden), self.golden)
        assert verdict.outcome == "fail"
        assert "share of answers that differ" in verdict.reason

    def test_other_scores_fail_though_the_answers_are_the_same(self, predictor: Predict) -> None:
        verdict = self.judge(predictor, right(self.rows) | right(self.golden), self.golden, off_by=1.5)
        assert verdict.outcome == "fail"
        assert "scores" in verdict.reason and "answers" not in verdict.reason

    def test_a_loss_on_the_labelled_set_fails(self, predictor: Predict) -> None:
        verdict = self.judge(
            predictor, right(self.rows) | wrong_first(self.golden, 20), self.golden, off_by=0.05
        )
        assert verdict.outcome == "fail"
        assert "golden" in verdict.reason

    def test_nan_fails(self, predictor: Predict) -> None:
        assert self.judge(predictor, right(self.rows[1:]), self.golden).outcome == "fail"

    def test_without_a_checkpoint_it_is_inconclusive(self, predictor: Predict) -> None:
        alone = predictor(right(self.rows))
        assert gate("parity").judge(alone, None, {"parity": self.rows}).outcome == "inconclusive"


class TestLatency:
    rows = examples("latency", 40)

    @pytest.mark.parametrize(("candidate", "outcome"), [(0.0005, "pass"), (0.0015, "fail")])
    def test_it_compares_with_the_serving_release(
        self, candidate: float, outcome: str, predictor: Predict
    ) -> None:
        sides = [predictor(right(self.rows), seconds=seconds) for seconds in (candidate, 0.0005)]
        verdict = gate("latency", rounds=10).judge(*sides, {"latency": self.rows})
        assert verdict.outcome == outcome, verdict

    def test_a_first_build_has_nothing_to_be_slower_than(self, predictor: Predict) -> None:
        verdict = gate("latency").judge(predictor(right(self.rows)), None, {"latency": self.rows})
        assert verdict.outcome == "pass"
        assert verdict.figures["candidate.p50_ms"] > 0


def test_a_smaller_network_need_not_gain_but_must_not_lose_more_than_is_allowed(predictor: Predict) -> None:
    held_out = {"golden": examples("golden", 600)}
    serving = predictor(right(held_out["golden"]))
    judge = gate("quality", margin=0.03, must_gain=False).judge
    assert judge(serving, serving, held_out).passed
    assert judge(predictor(wrong_first(held_out["golden"], 6)), serving, held_out).passed
    assert judge(predictor(wrong_first(held_out["golden"], 40)), serving, held_out).outcome == "fail"


def _saying(words: str) -> Any:
    """A predictor that writes the same to every text."""
    codec = SimpleNamespace(told=lambda texts: [(words, 1.0) for _ in texts])
    return SimpleNamespace(codec=codec, answers=lambda texts: texts)


class TestGuardrails:
    """On labels as answers: what a predictor is told to say is all that this gate reads."""

    def judge(self, predictor: Predict, says: dict[str, str], **how: Any) -> Verdict:
        rows = [Example(f"fresh {number}", "positive") for number in range(60)]
        usual = right(rows)
        verdict: Verdict = gate("guardrails", **how).judge(
            predictor(usual | says), predictor(usual), {"fresh": rows}
        )
        return verdict

    def test_a_candidate_that_writes_as_before_passes(self, predictor: Predict) -> None:
        verdict = self.judge(predictor, {})
        assert verdict.passed and verdict.figures["candidate.straight"] == 1.0

    def test_one_answer_that_says_what_is_forbidden_is_one_too_many(self, predictor: Predict) -> None:
        verdict = self.judge(predictor, {"fresh 7": "negative"}, forbidden=["NEGat"])
        assert verdict.outcome == "fail"
        assert verdict.reason == "an answer says 'negat', which is forbidden: 'negative'"

    @pytest.mark.parametrize(
        ("text", "straight"),
        [
            ("a b c a b d a b", True),
            ("no no no", False),
            ("so a b c a b c a b c", False),
            ("a b a b", True),
            ("", True),
        ],
    )
    def test_what_goes_round_in_circles(self, text: str, straight: bool) -> None:
        assert _circles(text.split()) is not straight

    @pytest.mark.parametrize(("times", "outcome"), [(1, "pass"), (2, "pass"), (3, "fail")])
    def test_answers_that_run_on_are_refused(self, times: int, outcome: str) -> None:
        rows = [Example(f"fresh {number}", "one two") for number in range(60)]
        words = " ".join(f"word{number}" for number in range(2 * times))
        verdict = gate("guardrails").judge(_saying(words), _saying("one"), {"fresh": rows})
        assert verdict.outcome == outcome

    def test_a_candidate_that_goes_round_in_circles_is_refused(self) -> None:
        rows = [Example(f"fresh {number}", "one two three") for number in range(60)]
        verdict = gate("guardrails").judge(_saying("no no no"), _saying("one two"), {"fresh": rows})
        assert verdict.outcome == "fail" and "round in circles" in verdict.reason

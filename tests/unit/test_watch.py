"""When a promoted release is taken back, and when chance is not enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import FakePredictor
from perennial import plugins
from perennial.jobs.watch import Rivals, unhealthy
from perennial.server.control import Figures
from perennial.types import Example
from tiny import LABELS, tiny_codec

TRUTH = {f"text {number}": LABELS[number % 3] for number in range(60)}
EXAMPLES = [Example(text, label) for text, label in TRUTH.items()]


def rivals(folder: Path, wrong_by_new: int, wrong_by_old: int) -> Rivals:
    codec = plugins.get("tasks/classify", "codec")(tiny_codec(folder))
    return Rivals(*(FakePredictor(codec, _wrong(count)) for count in (wrong_by_new, wrong_by_old)))


def _wrong(count: int) -> dict[str, str]:
    """The first `count` texts are answered with another label."""
    return {
        text: LABELS[(LABELS.index(label) + (number < count)) % 3]
        for number, (text, label) in enumerate(TRUTH.items())
    }


def test_a_worse_release_is_found_out(tmp_path: Path) -> None:
    pair = rivals(tmp_path, wrong_by_new=20, wrong_by_old=0)
    pair.compare(EXAMPLES)
    assert pair.worse() == "worse on new feedback: 60 new rows; only new right 0, only old right 20"


@pytest.mark.parametrize(("wrong_by_new", "wrong_by_old"), [(0, 0), (0, 20), (20, 20), (3, 0)])
def test_an_equal_or_better_one_and_bad_luck_stay(
    tmp_path: Path, wrong_by_new: int, wrong_by_old: int
) -> None:
    pair = rivals(tmp_path, wrong_by_new, wrong_by_old)
    pair.compare(EXAMPLES)
    assert pair.worse() == ""


def test_evidence_adds_up_over_rounds(tmp_path: Path) -> None:
    pair = rivals(tmp_path, wrong_by_new=60, wrong_by_old=0)
    verdicts = []
    for start in range(0, 12, 3):
        pair.compare(EXAMPLES[start : start + 3])
        pair.compare([])
        verdicts.append(bool(pair.worse()))
    assert verdicts == [False, False, True, True]


NOTHING = Figures(0, 0, None)


def test_failures_and_a_slow_tail_are_reasons_to_go() -> None:
    failing = unhealthy(Figures(90, 10, None), NOTHING)
    assert failing == "10 of 100 requests failed, 0.0% did before the promotion"
    slow = unhealthy(Figures(1000, 0, 200_000.0), Figures(1000, 0, 20_000.0))
    assert slow == "p99 is 200 ms, before the promotion it was 20 ms"


def test_few_requests_and_small_differences_are_not() -> None:
    assert unhealthy(Figures(0, 50, None), NOTHING) == ""
    assert unhealthy(Figures(97, 3, None), NOTHING) == "", "chance does that with one failure in fifty"
    fast = Figures(1000, 0, 10_000.0)
    assert unhealthy(Figures(1000, 0, 40_000.0), fast) == "", "below the floor nobody would notice"
    assert unhealthy(Figures(1000, 0, 55_000.0), Figures(1000, 0, 20_000.0)) == ""
    assert unhealthy(Figures(1000, 0, 500_000.0), NOTHING) == "", "nothing to compare with"


def test_users_who_ask_wrongly_do_not_speak_against_a_release() -> None:
    usual = Figures(succeeded=9_700, failed=300, p99_us=None)
    assert unhealthy(Figures(970, 30, None), usual) == ""
    assert unhealthy(Figures(955, 45, None), usual) == ""
    worse = unhealthy(Figures(900, 100, None), usual)
    assert worse == "100 of 1000 requests failed, 3.0% did before the promotion"
    assert unhealthy(NOTHING, usual) == ""


def test_a_share_of_few_requests_excuses_nothing() -> None:
    assert unhealthy(Figures(500, 500, None), Figures(0, 3, None)) != ""


def test_a_service_that_always_failed_is_not_the_new_releases_fault() -> None:
    assert unhealthy(Figures(0, 1000, None), Figures(0, 1000, None)) == ""

"""Claims about the search of `perennial tune`, on figures that are told, and about what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from perennial.config import load
from perennial.errors import ConfigError
from perennial_perf.settings_file import set_service
from perennial_perf.tuning import Aim, Rows, Search, Trial, Way, judge, knobs

AIM = Aim((1, 8, 32))
START: Way = {"instances": 2, "threads": 1, "alone_threads": 0, "tokenizers": 1, "postprocesses": 1}
NOISE = (0.9, 1.2, 1.0)
"""What the machine does from one round to the next, to both sides alike."""


def rows(rate: float, alone_ms: float = 6.0, p99: float = 150.0) -> Rows:
    """A round, of which the search reads the lone client's p50 and the crowd's rate and p99."""
    return {
        1: {"requests/s": 100.0, "p50": alone_ms, "p99": 9.0},
        8: {"requests/s": rate, "p50": 30.0, "p99": 60.0},
        32: {"requests/s": rate, "p50": 110.0, "p99": p99},
    }


def trial(base: tuple[float, ...], way: tuple[float, ...]) -> Trial:
    """Sides as (rate, p50 of a lone client, p99), in rounds of a noisy machine."""

    def side(figures: tuple[float, ...], noise: float) -> Rows:
        rate, *times = figures
        return rows(rate / noise, *(one * noise for one in times))

    rounds = [(side(base, noise), side(way, noise)) for noise in NOISE]
    return Trial(START, {**START, "threads": 2}, rounds)


@pytest.mark.parametrize(
    ("way", "better"),
    [
        ((270.0, 6.0), True),  # more for the crowd
        ((257.0, 6.0), False),  # too little more
        ((250.0, 5.5), True),  # sooner for one
        ((245.0, 5.5), True),  # sooner for one, and the crowd hardly feels it
        ((240.0, 5.5), False),  # at the crowd's cost
        ((300.0, 6.3), False),  # at the cost of one
        ((250.0, 6.0), False),
    ],
)
def test_better_is_a_gain_at_one_end_that_costs_the_other_nothing(
    way: tuple[float, ...], better: bool
) -> None:
    assert judge(trial((250.0, 6.0), way), AIM).better is better


def test_a_round_without_a_gain_makes_the_gain_a_matter_of_luck() -> None:
    lucky = trial((250.0,), (300.0,))
    unsure = Trial(lucky.base, lucky.way, [*lucky.rounds[:2], lucky.rounds[2][::-1]])
    assert judge(lucky, AIM).better and not judge(unsure, AIM).better


@pytest.mark.parametrize(
    ("before", "now", "better"),
    [
        (150.0, 90.0, True),  # into the limit, though fewer are answered
        (90.0, 150.0, False),
        (150.0, 120.0, True),  # nearer, from where the next change may reach it
        (150.0, 149.0, False),
    ],
)
def test_a_p99_within_the_limit_comes_first(before: float, now: float, better: bool) -> None:
    found = judge(trial((250.0, 6.0, before), (200.0, 6.0, now)), Aim((1, 8, 32), 100.0))
    assert found.better is better
    assert f"p99 {now:.3g} ms" in found.reason or not better


def measuring(rate: Callable[[Way], float], asked: list[Way]) -> Callable[[Way, Way], Trial]:
    """A machine that answers at `rate`, whatever the way."""

    def measure(base: Way, way: Way) -> Trial:
        asked.append(way)
        return Trial(base, way, [(rows(rate(base)), rows(rate(way)))] * 3)

    return measure


def test_the_search_goes_on_from_what_was_better_and_confirms_the_whole() -> None:
    def rate(way: Way) -> float:
        return 200.0 + 40.0 * way["threads"] + 30.0 * (way["tokenizers"] == 2 and way["threads"] == 2)

    asked: list[Way] = []
    measure = measuring(rate, asked)
    best = Search(START, AIM).run(knobs(2), measure, measure)
    assert best == {**START, "instances": 1, "threads": 2, "tokenizers": 2}
    assert asked[-1] == best and asked.count(best) == 2
    assert all(asked.count(way) == 1 for way in asked if way != best)
    assert START not in asked


def test_what_is_not_better_once_more_is_left() -> None:
    measure, never = measuring(lambda way: 200.0 + way["tokenizers"] * 20, []), measuring(lambda _: 200.0, [])
    search = Search(START, AIM)
    assert search.run(knobs(2), measure, never) == START
    assert [judgement.better for _, judgement in search.trials][-1] is False


def test_the_p99_of_a_way_is_the_last_that_was_measured() -> None:
    search = Search(START, AIM)
    measure = measuring(lambda _: 200.0, [])
    search.run(knobs(2), measure, measure)
    assert search.p99_ms(START) == 150.0


@pytest.mark.parametrize("cores", [1, 2, 6, 64])
def test_no_way_asks_for_more_than_a_thread_beside_the_cores(cores: int) -> None:
    engine, alone, *_ = knobs(cores)
    assert all(0 < way["instances"] * way["threads"] <= cores + 1 for way in engine)
    assert {"instances": cores, "threads": 1} in engine
    assert all(way["alone_threads"] < cores or not way["alone_threads"] for way in alone)


WRITTEN = """\
# mine
state = "here"   # not there

[services.mood]
# how often
trigger_count = 900
rebuild = { learner = "finetune" }

[server]
http_port = 0
"""


def test_settings_are_written_where_they_belong_and_all_else_stays(tmp_path: Path) -> None:
    file = tmp_path / "perennial.toml"
    file.write_text(WRITTEN)
    set_service(file, "mood", {"threads": 2, "instances": 1}, "279 → 301 requests/s")
    written = file.read_text()
    assert [line for line in written.splitlines() if line not in WRITTEN.splitlines()] == [
        "threads = 2 # 279 → 301 requests/s",
        "instances = 1",
    ]
    assert all(line in written.splitlines() for line in WRITTEN.splitlines())
    found = load(file).service("mood")
    assert (found.threads, found.instances, found.trigger_count) == (2, 1, 900)
    set_service(file, "mood", {"threads": 1}, "301 → 320")
    assert "threads = 1 # 301 → 320" in file.read_text() and "279" not in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["perennial.toml"]


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    set_service(tmp_path / "new.toml", "mood", {"alone_threads": 1}, "why")
    assert (tmp_path / "new.toml").read_text() == "[services.mood]\nalone_threads = 1 # why\n"
    set_service(tmp_path / "new.toml", "other", {"tokenizers": 2}, "why")
    assert load(tmp_path / "new.toml").service("other").tokenizers == 2


def test_a_file_that_could_not_be_read_any_more_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "perennial.toml"
    file.write_text(WRITTEN)
    with pytest.raises(ConfigError, match="threads"):
        set_service(file, "mood", {"threads": 0}, "why")
    assert file.read_text() == WRITTEN
    assert [path.name for path in tmp_path.iterdir()] == ["perennial.toml"]

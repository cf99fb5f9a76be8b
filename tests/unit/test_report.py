"""A report says what it measured, judges its goals, and is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from perennial_perf.report import Draft, Goal
from perennial_perf.stats import percentiles, worst_window


@pytest.mark.parametrize(
    ("value", "relation", "met"),
    [
        (20.0, "<=", True),
        (20.1, "<=", False),
        (20.0, ">=", True),
        (19.9, ">=", False),
        (20.0, "==", True),
        (20.1, "==", False),
        (float("nan"), "<=", False),
        (float("nan"), ">=", False),
    ],
)
def test_a_goal_is_met_on_its_limit_and_never_by_nothing(value: float, relation: str, met: bool) -> None:
    assert Goal("p99 ms", value, 20.0, relation).met is met  # type: ignore[arg-type]


def test_the_exit_code_is_1_where_a_goal_is_missed() -> None:
    met, missed = Goal("failed", 0, 0, "=="), Goal("rows/s", 1.0, 5000, ">=")
    assert Draft("feedback").report({}, [met]).exit_code == 0
    assert Draft("feedback").report({}, [met, missed]).exit_code == 1


def test_a_report_is_kept_as_json_under_its_name(tmp_path: Path) -> None:
    report = Draft("feedback").report(
        {"lost": 0, "1 client": {"rows/s": 10.5, "p99 ms": float("nan")}}, [Goal("lost", 0, 0, "==")]
    )
    kept = json.loads(report.write(tmp_path).read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["feedback.json"]
    assert kept["figures"] == {"lost": 0, "1 client": {"rows/s": 10.5, "p99 ms": None}}
    assert kept["goals"] == [{"name": "lost", "value": 0, "limit": 0, "relation": "==", "met": True}]
    assert set(kept) == {"bench", "figures", "goals", "notes", "machine", "commit", "started_at", "seconds"}
    assert kept["machine"]["cores"] >= 1


def test_a_person_sees_figures_and_missed_goals() -> None:
    report = Draft("feedback").report(
        {"seconds": 3.14159, "1 client": {"rows/s": 12345.6}, "32 clients": {"rows/s": 50000.0}},
        [Goal("rows/s", 12345.6, 20000, ">=")],
    )
    shown = io.StringIO()
    report.show(Console(file=shown, width=100))
    for part in ("3.14", "12,346", "50,000", "32 clients", "20,000", "no"):
        assert part in shown.getvalue()


def test_percentiles_are_named_and_of_nothing_are_nan() -> None:
    assert percentiles(range(101)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert np.isnan(percentiles([])["p99"])


def test_the_worst_window_is_found_where_it_is() -> None:
    at = np.arange(0.0, 10.0, 0.01)
    values = np.where((at >= 4) & (at < 5), 50.0, 5.0)
    assert worst_window(at, values, width=1.0) == 50.0

"""The feedback bench in its short form: what it proves must hold wherever it runs, how fast need not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.config import Settings
from perennial_perf.benches import main

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def test_kill_9_of_the_server_loses_and_doubles_no_acknowledged_row(
    embedded_server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(state=tmp_path, repository=ROOT / "model_repository")
    code = main("feedback", settings, quick=True, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "reports/feedback.json").read_text())
    goals = {goal["name"]: goal for goal in printed["goals"]}
    for name in ("acknowledged rows lost", "rows stored twice", "kills of the server under load"):
        assert goals[name]["met"], goals[name]
    assert printed["figures"]["requests cut off by a kill"] > 0
    assert code == (0 if all(goal["met"] for goal in goals.values()) else 1)
    assert not list((tmp_path / "benches").iterdir())

"""The command line where nothing runs: help, JSON, exit codes, and one clear line for each mistake."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from perennial.cli import main

COMMANDS = (
    *("up", "down", "status", "worker", "predict", "feedback"),
    *(
        "build",
        "rebuild",
        "releases",
        "compress",
        "promote",
        "rollback",
        "retire",
        "demo",
        "bench",
        "config",
        "tune",
    ),
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["perennial", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_help_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    assert all(command in said for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    asked = [command, "check"] if command == "config" else [command]
    assert run(monkeypatch, *asked, "--help") == 0
    assert "--json" in capsys.readouterr().out


def test_a_wrong_setting_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("perennial.toml").write_text("stat = 'x'\n")
    assert run(monkeypatch, "config", "check") == 2
    assert "did you mean 'state'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("predict", "sentiment", "x"), "no server runs on the state var; start one with `perennial up`"),
        (("up", "--sample", "movis"), "'movis' is not one of the samples; did you mean 'movies'?"),
        (("rebuild", "sentiment"), "there is no service 'sentiment' (known: none yet)"),
        (("rollback", "sentiment"), "'sentiment' has no serving release"),
        (("tune", "sentiment"), "there is no service 'sentiment' (known: none yet)"),
        (("build", "Bad", "--from", ".", "--data", "x"), "'Bad' cannot be built: a service's name is"),
        (("build", "why", "--from", ".", "--data", "x"), "there is a model 'why' beside all services"),
        (("build", "ok", "--from", ".", "--data", "x"), "there is no data file 'x'"),
        (("build", "ok"), "the task classify begins with a model of yours; give its folder as --from"),
        (("build", "ok", "--task", "embed", "--from", ".", "--label", "x"), "tells no labels apart; leave"),
        (("build", "ok", "--from", ".", "--documents", "x"), "the task classify finds no --documents"),
        (("index", "ok"), "there is nothing to index; give a file of documents, or --remove an id"),
        (("build", "ok", "--task", "clasify", "--from", ".", "--data", "x"), "did you mean 'classify'?"),
    ],
)
def test_a_mistake_is_one_line_that_says_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run(monkeypatch, *arguments) == 1
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_an_error_is_json_where_json_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "rollback", "sentiment", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"] == "NotFound"


def test_an_error_is_printed_to_the_letter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To rich, `[embedded]` is markup, and `[/x]` broken markup."""
    assert run(monkeypatch, "build", "ok", "--from", ".", "--data", "[embedded] [/x]") == 1
    assert "'[embedded] [/x]'" in capsys.readouterr().err


def test_status_says_that_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "status", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "server": None,
        "worker": False,
        "memory_mb": 0,
        "services": {},
        "out_of_service": [],
    }


def test_down_with_nothing_to_stop_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["perennial", "down", "--json"])
    assert run(monkeypatch, "down", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": False}

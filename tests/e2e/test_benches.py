"""The benches in their short form, on a tiny service: what they prove must hold wherever they run; how fast
the machine is need not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from perennial import plugins
from perennial.config import ServiceSettings, Settings, TrainingSettings
from perennial.repository.layout import copy_own_models
from perennial.samples.conll import Conll
from perennial.samples.newsgroups import Newsgroups
from perennial.samples.sentiment import Sentiment
from perennial_perf.benches import main
from tiny import LABELS, spoken, tiny_examples, tiny_spans

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
TRAINING = TrainingSettings(epochs=8, batch_size=8, learning_rate=5e-3, trainable_layers=2, threads=1)
TEACH = ServiceSettings(build=TRAINING, rebuild=TRAINING, golden_rows=100, validation_rows=60)


@pytest.fixture(scope="module")
def settings(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A state in which nothing is built yet, with samples whose parts are tiny."""
    folder = tmp_path_factory.mktemp("benches")
    sample = Sentiment(folder / "var/samples")
    shutil.copytree(tiny_encoder, sample._encoder.folder)
    files = {"movie": [(example.text, example.label) for example in tiny_examples(600)]}
    tones = dict(zip(LABELS, ("zzz", "mmm", "xxx"), strict=True))
    for domain in ("tweets", "amazon", "nytimes"):
        labels = [LABELS[number % 3] for number in range(800)]
        files[domain] = [(f"{domain} {n} it was {tones[label]}", label) for n, label in enumerate(labels)]
    put(sample._ratings.folder, files)
    spans = {"train": tiny_spans(1200), "test": [spoken(number, "zzz", "BAD") for number in range(300)]}
    put(
        Conll(folder / "var/samples")._news.folder,
        {"valid": [], **{name: [(row.text, row.label) for row in rows] for name, rows in spans.items()}},
    )
    put(Newsgroups(folder / "var/samples")._posts.folder, {"train": files["movie"], "test": files["tweets"]})
    copy_own_models(ROOT / "model_repository", folder / "repository")
    return Settings(
        state=folder / "var",
        repository=folder / "repository",
        services={"sentiment": TEACH, "newsgroups": TEACH, "names": TEACH},
    )


def put(folder: Path, files: dict[str, list[tuple[str, str]]]) -> None:
    folder.mkdir()
    for name, rows in files.items():
        lines = (json.dumps({"text": text, "label": label, "ratings": [label]}) for text, label in rows)
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def goals_of(name: str, settings: Settings, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    main(name, settings, quick=True, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((settings.state / f"reports/{name}.json").read_text())
    assert not list((settings.state / "benches").iterdir()), "a bench leaves nothing but its report"
    return {goal["name"]: goal for goal in report["goals"]}


def test_releases_come_and_go_under_load_and_no_request_fails(
    embedded_server: None, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = goals_of("swap", settings, capsys)
    fast = ("promotion ms, max", "worst p99 in the second around a promotion / steady p99")
    for name, goal in goals.items():
        assert goal["met"] or name in fast, goal


def test_corrections_reach_the_answers_under_load_and_their_order_makes_no_difference(
    embedded_server: None, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = goals_of("head", settings, capsys)
    assert goals["failed requests meanwhile"]["met"] and goals["difference between orders"]["value"] == 0
    assert goals["seconds from a receipt to the next answers, p95"]["value"] > 0


def test_a_tagger_is_measured_beside_a_plain_one_and_its_head_learns_another_domain(
    embedded_server: None, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = goals_of("tag", settings, capsys)
    assert goals["entity F1 gained on texts in a hurry"]["value"] > 5
    report = json.loads((settings.state / "reports/tag.json").read_text())
    assert report["figures"]["plain transformers"]["CoNLL"] >= 0


def test_the_ensemble_is_measured_beside_its_bare_session(
    embedded_server: None, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = goals_of("serve", settings, capsys)
    assert goals["requests/s, 32 clients / texts/s, bare"]["value"] > 0


def test_engines_are_measured_and_those_that_are_not_here_are_named(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openvino", "torch"):
        monkeypatch.setattr(plugins.get("engines", name), "available", lambda self: "its compiler is slow")
    goals = goals_of("engines", settings, capsys)
    assert "macro-F1 points, onnxruntime int8 - checkpoint" in goals
    report = json.loads((settings.state / "reports/engines.json").read_text())
    rows = {name: row for name, row in report["figures"].items() if isinstance(row, dict)}
    known = {line.partition(":")[0].partition(" ")[0] for line in (*rows, *report["notes"])}
    assert known == set(plugins.names("engines"))
    assert all(row["texts/s"] > 0 and row["from"] <= row["to"] for row in rows.values())


def test_latency_is_drawn_against_throughput_over_both_protocols(
    embedded_server: None, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    goals_of("curves", settings, capsys)
    reports = settings.state / "reports"
    lines = (reports / "curves.csv").read_text().splitlines()
    series = [f"{protocol}, {loop} loop" for protocol in ("grpc", "http") for loop in ("closed", "open")]
    assert {line.split('"')[1] for line in lines[1:]} == set(series)
    assert (reports / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_ensemble_is_measured_beside_a_peer_that_runs_the_same_graph(
    embedded_server: None, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = goals_of("peers", settings, capsys)
    assert goals["failed requests of ours"]["met"]
    assert goals["p50, 1 client / best peer's"]["value"] > 0
    report = json.loads((settings.state / "reports/peers.json").read_text())
    assert {"32 clients: Perennial", "32 clients: mosec, onnxruntime int8"} <= set(report["figures"])

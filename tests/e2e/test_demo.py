"""The demo in its short form, whole but for its sizes: a tiny encoder, and one domain of made-up users."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from perennial.config import ServiceSettings, Settings, TrainingSettings
from perennial.samples.sentiment import Sentiment
from perennial.state import State
from perennial_perf import demo, sandbox
from serving import living
from tiny import LABELS, tiny_examples

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
NEW_WORDS = dict(zip(LABELS, ("zzz", "mmm", "xxx"), strict=True))
TRAINING = TrainingSettings(epochs=16, batch_size=8, learning_rate=2e-3, trainable_layers=2, threads=1)
TEACH = ServiceSettings(
    build=TRAINING,
    rebuild=TRAINING,
    golden_margin=0.1,
    golden_rows=100,
    validation_rows=60,
    latency_ratio=1000.0,  # of a tiny network beside a server under load, it would be chance
)


@dataclass(frozen=True)
class Played:
    """A demo that was run: its exit code, what it printed, and the state folder that it ran on."""

    code: int
    printed: dict[str, Any]
    state: State
    files_before: set[Path]

    @property
    def goals(self) -> dict[str, dict[str, Any]]:
        return {goal["name"]: goal for goal in self.printed["goals"]}


@pytest.fixture(scope="module")
def played(embedded_server: None, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("demo")
    settings = Settings(
        state=folder / "var", repository=ROOT / "model_repository", services={Sentiment.service: TEACH}
    )
    _put_sample(settings.folder, tiny_encoder)
    before = set(settings.repository.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda line, **_: lines.append(line))
        code = demo.main(settings, "sentiment", quick=True, as_json=True)
    return Played(code, json.loads(lines[-1]), settings.folder, before)


def _put_sample(state: State, encoder: Path) -> None:
    """The sample's files, as `fetch` leaves them: films, and tweets whose tone is told by new words."""
    sample = Sentiment(state.folder("samples"))
    shutil.copytree(encoder, sample._encoder.folder)
    home = sample._ratings.folder
    home.mkdir()
    films = [(row.text, row.label) for row in tiny_examples(600)]
    tweets = [(f"day {n} it was {NEW_WORDS[LABELS[n % 3]]}", LABELS[n % 3]) for n in range(600)]
    for domain, rows in {"movie": films, "tweets": tweets, "amazon": [], "nytimes": []}.items():
        lines = [{"text": text, "label": label, "ratings": _ratings(label)} for text, label in rows]
        (home / f"{domain}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _ratings(label: str) -> list[str]:
    """Nine raters of ten say what is right."""
    return [label] * 18 + [other for other in LABELS if other != label]


def test_what_users_say_is_learned_and_no_request_fails(played: Played) -> None:
    missed = {name: goal for name, goal in played.goals.items() if not goal["met"]}
    assert (missed, played.code) == ({}, 0), played.printed["notes"]


def test_a_domain_is_told_before_live_and_after(played: Played) -> None:
    told = played.printed["figures"]["tweets: macro-F1"]
    assert told["before"] < told["after"] == told["at the end"]
    assert 0.0 < told["live"] < told["after"] <= 1.0


def test_what_the_first_release_knew_is_told_too(played: Played) -> None:
    told = played.printed["figures"]["built from: accuracy"]
    assert told["at the start"] > 0.9
    assert set(told) == {"at the start", "at the end"}


def test_each_promotion_says_what_it_took_and_what_requests_felt(played: Played) -> None:
    figures = played.printed["figures"]
    promotion = figures["release 2 (tweets)"]
    assert promotion["corrections learned"] >= demo.QUICK.trigger
    assert 0 < promotion["s from the last of them to promotion"] < promotion["s from the first"]
    for when in ("before", "during", "after"):
        felt = figures[f"release 2, {when} promotion"]
        assert felt["failed"] == 0 < felt["answered"]
        assert 0 < felt["p50 ms"] <= felt["p99 ms"]


def test_every_correction_is_in_the_store_once(played: Played) -> None:
    figures = played.printed["figures"]
    assert figures["corrections acknowledged"] == figures["corrections stored"] >= demo.QUICK.trigger


def test_the_report_and_the_picture_are_kept(played: Played) -> None:
    reports = played.state.folder("reports")
    assert json.loads((reports / "demo.json").read_text()) == played.printed
    assert (reports / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in reports.iterdir()) == ["demo.json", "demo.png"]


def test_the_users_own_service_is_not_touched(played: Played) -> None:
    assert set((ROOT / "model_repository").iterdir()) == played.files_before
    assert not (played.state.root / "releases").exists()


def test_nothing_runs_afterwards(played: Played) -> None:
    home = str((played.state.root / sandbox.FOLDER).resolve())
    mine = [process for process in psutil.process_iter() if home in " ".join(_command(process))]
    assert not living(mine)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []

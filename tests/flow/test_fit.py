"""Training in several processes of `accelerate launch`: what they learn together, and how they end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.numpy import load_file

from flow.workshops import SERVICE, TEACH, lease_of, workshop
from perennial import plugins
from perennial.config import FIRST, ServiceSettings
from perennial.errors import TrainingFailed
from perennial.jobs import candidate, data, fit, snapshot
from perennial.jobs.run import Run
from perennial.types import Array
from tiny import tiny_examples


@pytest.fixture
def exact(tiny_encoder: Path, tmp_path: Path) -> Path:
    """An encoder without dropout: nothing is left to chance."""
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def build(encoder: Path, folder: Path, **how: Any) -> Run:
    """A first build whose snapshot is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder / "data.jsonl", tiny_examples(200))
    shop = workshop(folder)
    taught = TEACH.model_copy(update={"build": TEACH.build.model_copy(update=how)})
    shop = replace(shop, settings=shop.settings.model_copy(update={"services": {SERVICE: taught}}))
    payload = {"task": "classify", "from": str(encoder), "data": str(folder / "data.jsonl")}
    job = shop.store.enqueue(SERVICE, "build", "test", payload, shop.unused_release(SERVICE))
    lease = lease_of(shop)
    assert shop.store.next_job(lease)
    run = Run(shop, job, lease)
    run.step("snapshot", snapshot.take)
    return run


def weights(run: Run) -> Iterator[tuple[str, Array]]:
    for file in sorted((run.folder / "train/checkpoint").glob("*.safetensors")):
        yield from load_file(file).items()


def test_two_processes_learn_what_one_does_of_as_many_batches(exact: Path, tmp_path: Path) -> None:
    how = {"epochs": 1, "learning_rate": 1e-3}
    one = build(exact, tmp_path / "one", **how, accumulate=2)
    two = build(exact, tmp_path / "two", **how, processes=2)
    done, other = candidate.train(one), candidate.train(two)
    assert done["report"]["steps"] == other["report"]["steps"] > 5
    assert done["learned"] == other["learned"]
    theirs = dict(weights(two))
    began = load_file(exact / "model.safetensors")
    for name, weight in weights(one):
        assert abs(weight - theirs[name]).max() < 1e-5, name
    moved = max(abs(weight - began[name]).max() for name, weight in theirs.items() if name in began)
    assert moved > 1e-3
    assert not (two.folder / "train/order.json").exists(), "it may hold a password"
    assert [*(two.shop.state.root / "logs/tensorboard").rglob("events.*")], "one of them writes"
    for run in (one, two):
        run.shop.store.close()


def test_what_a_process_fails_of_is_told(exact: Path, tmp_path: Path) -> None:
    run = build(exact, tmp_path / "one", learning_rate=1e30, processes=2)
    said = r"^in 2 processes: the loss is nan .* lower the learning rate"
    with closing(run.shop.store), pytest.raises(TrainingFailed, match=said):
        fit.launch(run, run.folder)


_LAUNCH = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from flow.test_fit import build
from perennial.jobs import candidate
candidate.train(build(Path({encoder!r}), Path({folder!r}), epochs=100_000, max_steps=10**6, processes=2))
"""


def test_none_of_them_outlives_a_job_that_is_killed(exact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    code = _LAUNCH.format(tests=str(Path(__file__).parents[1]), encoder=str(exact), folder=str(folder))
    job = subprocess.Popen([sys.executable, "-c", code])
    progress = until(lambda: next(folder.rglob("progress.json"), None))
    until(lambda: '"step": "train"' in progress.read_text() and "loss" in progress.read_text())
    theirs = psutil.Process(job.pid).children(recursive=True)
    assert len(theirs) >= 3, "a launcher and two that learn"
    job.kill()
    job.wait()
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in theirs))


def until(ready: Any) -> Any:
    for _ in range(600):
        if found := ready():
            return found
        time.sleep(0.1)
    raise AssertionError("not within a minute")


def test_a_task_says_how_a_first_release_is_taught_where_settings_do_not(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    said = build(tiny_encoder, tmp_path / "said")
    plain = workshop(tmp_path / "plain", ServiceSettings())
    hurried = ServiceSettings(build=FIRST.model_copy(update={"max_seconds": 9.0}))
    partly = workshop(tmp_path / "partly", hurried)
    usual = plugins.get("tasks/tag", "train").building
    steps = {"snapshot": {**said.job.steps["snapshot"], "task": "tag"}}
    tags = replace(said.job, steps=steps)
    for shop, left, seconds in ((plain, usual, usual["max_seconds"]), (partly, usual, 9.0)):
        found = fit.settings_of(replace(said, shop=shop, job=tags))
        assert found == FIRST.model_copy(update={**left, "max_seconds": seconds})
    assert fit.settings_of(replace(said, job=tags)).max_steps == TEACH.build.max_steps
    assert fit.settings_of(replace(said, shop=plain)) == FIRST

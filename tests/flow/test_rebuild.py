"""The slow loop on a real, tiny model: what is learned, what is refused, and what a kill leaves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from random import Random

import pytest

from flow import killing
from flow.workshops import SERVICE, TEACH, news, run
from perennial.cli import main
from perennial.engines.onnxruntime import OnnxRuntime
from perennial.jobs.data import file_digest
from perennial.jobs.release import roll_back, switch
from perennial.jobs.training import processor
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.split import ENOUGH_ROWS, LEAST_TEXTS
from perennial.types import Example, Job, NewFeedback
from tiny import LABELS


def enqueue(shop: Workshop) -> Job:
    return shop.store.enqueue(SERVICE, "rebuild", "test", {})


def accuracy(shop: Workshop, release: int) -> float:
    """On 60 texts of the new domain that nobody sent."""
    pipeline = pipeline_of(shop.bundle(SERVICE, release))
    examples = [Example(row.text, row.label) for row in news(460)[400:]]
    answers = pipeline.answers([example.text for example in examples])
    return pipeline.codec.score(answers, examples).metrics["accuracy"]


def test_a_rebuild_learns_what_users_said(taught: Workshop) -> None:
    assert taught.publisher.serving(SERVICE) == 2
    assert accuracy(taught, 2) > accuracy(taught, 1) + 0.2


def test_a_job_whose_engine_does_not_run_here_fails_before_it_trains(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "runs_here", lambda _: "no GPU: bring one")
    done = run(shop, enqueue(shop))
    said = "engine onnxruntime makes no release here: no GPU: bring one"
    assert (done.state, done.detail, done.steps) == ("failed", said, {})


def test_a_build_of_a_service_that_serves_is_judged_against_it(shop: Workshop, tiny_encoder: Path) -> None:
    """From the same checkpoint and data comes what serves already, which is no better."""
    payload = {**shop.store.jobs(SERVICE)[0].payload, "data": str(shop.settings.state.parent / "data.jsonl")}
    done = run(shop, shop.store.enqueue(SERVICE, "build", "test", payload))
    assert (done.state, shop.publisher.serving(SERVICE)) == ("refused", 1)
    assert "not surely better" in done.detail
    assert "golden.serving.accuracy" in done.steps["quality"]["figures"]
    assert done.steps["train"]["start"] == str(tiny_encoder), "it learns from the user's checkpoint alone"


def test_a_build_with_other_labels_than_those_that_serve_is_refused_before_it_trains(shop: Workshop) -> None:
    file = shop.settings.state.parent / "data.jsonl"
    file.write_text(file.read_text().replace('"neutral"', '"so-so"'))
    payload = {**shop.store.jobs(SERVICE)[0].payload, "data": str(file)}
    done = run(shop, shop.store.enqueue(SERVICE, "build", "test", payload))
    assert (done.state, list(done.steps)) == ("refused", ["snapshot"])
    assert "has the labels ['negative', 'positive', 'so-so'], and the serving release" in done.detail


def test_a_release_says_what_it_comes_from(taught: Workshop) -> None:
    manifest = taught.bundle(SERVICE, 2).manifest
    assert manifest["job"] == taught.store.jobs(SERVICE, limit=1)[0].id
    assert manifest["lineage"]["previous"] == 1
    assert manifest["lineage"]["feedback_rows"] == list(range(1, 401))
    weights = (taught.bundle(SERVICE, 1).folder / "checkpoint").glob("*.safetensors")
    assert manifest["lineage"]["start_sha256"] == file_digest(weights)
    assert manifest["lineage"]["training"] == TEACH.rebuild.model_dump(mode="json")
    assert manifest["lineage"]["processor"] == processor() and processor()["can"]
    made_by = manifest["lineage"]["packages"]
    assert (made_by["torch"], made_by["onnxruntime"]) == (version("torch"), version("onnxruntime"))
    assert [verdict["gate"] for verdict in manifest["verdicts"]] == ["quality", "parity", "latency"]


def test_what_is_learned_is_not_learned_again(taught: Workshop) -> None:
    done = run(taught, enqueue(taught))
    assert (done.state, taught.publisher.serving(SERVICE)) == ("refused", 2)
    assert "no feedback" in done.detail


def test_the_end_of_a_job_clears_away_what_a_kill_left_of_others(shop: Workshop) -> None:
    (built,) = shop.store.jobs(SERVICE)
    folder = shop.state.folder("jobs", built.id)
    for left in ("train/checkpoint", "engine.part"):
        (folder / left).mkdir(parents=True)
    job = enqueue(shop)
    waiting = shop.state.folder("jobs", shop.store.enqueue(SERVICE, "build", "test", {}).id, "train")
    run(shop, job)
    assert sorted(path.name for path in folder.iterdir()) == ["progress.json", "snapshot"]
    assert waiting.exists(), "an open job goes on with what it has"


def noise() -> list[NewFeedback]:
    """400 rows whose labels say nothing. (Ones that agree with each other, however odd, are learned.)"""
    rng = Random(0)
    return [replace(row, label=rng.choice(LABELS)) for row in news(400)]


def test_noise_is_refused_and_its_rows_wait_for_another_attempt(shop: Workshop) -> None:
    shop.store.add_feedback(noise())
    done = run(shop, enqueue(shop))
    assert done.state == "refused", done
    assert done.detail.startswith("quality")
    assert shop.publisher.serving(SERVICE) == 1
    backlog = shop.store.backlog(SERVICE, 3)
    assert (backlog.fresh, backlog.waiting) == (0, 400)


def test_rows_are_tried_three_times_at_most(shop: Workshop) -> None:
    shop.store.add_feedback(noise())
    assert [run(shop, enqueue(shop)).state for _ in range(3)] == ["refused"] * 3
    backlog = shop.store.backlog(SERVICE, 3)
    assert (backlog.waiting, backlog.spent) == (0, 400)
    looks = [job.steps["quality"]["figures"].get("golden.look") for job in shop.store.jobs(SERVICE)]
    assert looks == [3, 2, 1, None], (
        "each is one more that the same golden set judged; the build had no rival"
    )


def test_too_few_rows_to_judge_by_wait_for_more_and_no_attempt_is_counted(shop: Workshop) -> None:
    shop.store.add_feedback(news(20))
    done = run(shop, enqueue(shop))
    assert (done.state, done.steps) == ("cancelled", {}), "it did not train"
    assert f"each takes {LEAST_TEXTS}; feedback on {ENOUGH_ROWS} different texts is enough" in done.detail
    assert shop.store.backlog(SERVICE, 3).fresh == 20


def test_too_few_rows_that_fill_a_claim_let_others_pass(shop: Workshop) -> None:
    """As they would never do if one text was sent `max_rows` times."""
    few = TEACH.model_copy(update={"max_rows": 20})
    shop = replace(shop, settings=shop.settings.model_copy(update={"services": {SERVICE: few}}))
    shop.store.add_feedback(news(21))
    assert run(shop, enqueue(shop)).state == "refused"
    backlog = shop.store.backlog(SERVICE, 3)
    assert (backlog.fresh, backlog.waiting) == (1, 20)


def test_rollback_serves_the_previous_release_and_frees_its_rows(taught: Workshop) -> None:
    roll_back(taught, SERVICE)
    assert taught.publisher.serving(SERVICE) == 1
    assert taught.store.backlog(SERVICE, 3).waiting == 400
    switch(taught, SERVICE, 2)
    assert taught.publisher.serving(SERVICE) == 2


def test_a_rollback_where_no_server_runs_says_when_it_counts(
    taught: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state", str(taught.settings.state), "--repository", str(taught.settings.repository))
    monkeypatch.setattr(sys, "argv", ["perennial", *where, "rollback", SERVICE])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert said == f"{SERVICE}: release 1 serves; no server runs, the next start serves it\n"


def test_numbers_grow_on_after_a_rollback(taught: Workshop) -> None:
    roll_back(taught, SERVICE)
    done = run(taught, enqueue(taught))
    assert (done.release, done.state) == (3, "kept")
    assert done.steps["quality"]["figures"]["golden.look"] == 2, "release 1's golden set judged release 2"
    assert taught.bundle(SERVICE, 3).manifest["lineage"]["previous"] == 1


def test_a_kill_at_any_step_converges(shop: Workshop) -> None:
    """kill -9 as each step begins, and again when it is done but not yet recorded."""
    shop.store.add_feedback(news(400))
    job = enqueue(shop)
    folder = shop.settings.state.parent
    command = [sys.executable, str(Path(killing.__file__)), str(folder), job.id]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == 0, killed.stderr[-3000:]
    served = [line.split()[-1] for line in killed.stdout.splitlines()]
    assert len(served) == len(killing.STEPS) * len(killing.MOMENTS)
    assert served == sorted(served), "once the new release serves, no kill takes it back"
    done = run(shop, job)
    assert (done.state, shop.publisher.serving(SERVICE)) == ("kept", 2), done.detail
    assert shop.publisher.versions(SERVICE) == [1, 2]
    assert not shop.publisher.quarantine()
    assert shop.store.backlog(SERVICE, 3).fresh == 0
    rows = shop.bundle(SERVICE, 2).manifest["lineage"]["feedback_rows"]
    assert rows == list(range(1, 401))

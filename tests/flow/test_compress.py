"""A compression on the tiny service: a student of half the layers serves, and all goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow.workshops import SERVICE, copied, lease_of, news, run
from perennial import plugins
from perennial.jobs import measure
from perennial.jobs.compress import compress
from perennial.jobs.measure import speeds
from perennial.jobs.release import roll_back
from perennial.jobs.run import Run
from perennial.jobs.workshop import Workshop, trainable
from perennial.types import Job

PAYLOAD = {"recipes": ["distill-half"], "max_drop": 10.0, "p99_ms": None, "texts": "", "dry_run": False}


def carry_out(shop: Workshop, job: Job) -> Job:
    lease = lease_of(shop)
    running = shop.store.next_job(lease)
    assert running and running.id == job.id
    try:
        return compress(shop, running, lease)
    finally:
        shop.store.release(lease)


def enqueue(shop: Workshop, **asked: object) -> Job:
    return shop.store.enqueue(SERVICE, "compress", "test", {**PAYLOAD, **asked})


@pytest.fixture(scope="module")
def compressed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which release 2, a student of release 1, serves; its job was broken off once."""
    folder = tmp_path_factory.mktemp("compressed") / "copy"
    shop = copied(built, folder)
    job = enqueue(shop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "measure", die)
        patch.setattr(plugins.get("recipes", "distill"), "learning_rate", 5e-3)  # as tiny networks learn
        patch.setattr(plugins.get("recipes", "distill"), "steps", 240)
        with pytest.raises(ZeroDivisionError):
            carry_out(shop, job)
    broken_off = shop.store.job(job.id).steps
    assert list(broken_off) == ["snapshot", "teacher", "distill-half"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "speeds", surely_quicker)
        done = carry_out(shop, job)
    assert done.state == "kept", done.detail
    assert {name: done.steps[name] for name in broken_off} == broken_off, "what was done is not done again"
    shop.store.close()
    return folder


def surely_quicker(*asked: Any) -> dict[str, Any]:
    """As measured, but the student twice as quick: of a tiny network, beside other tests, that is chance."""
    measured = speeds(*asked)
    return {
        name: row if name == "serving" else {**row, "texts_per_s": 2 * row["texts_per_s"]}
        for name, row in measured.items()
    }


def die(_: Run) -> dict[str, object]:
    raise ZeroDivisionError


@pytest.fixture
def small(compressed: Path, tmp_path: Path) -> Iterator[Workshop]:
    opened = copied(compressed, tmp_path / "copy")
    yield opened
    opened.store.close()


def depth(shop: Workshop, release: int) -> int:
    task = trainable("classify")
    bundle = shop.bundle(SERVICE, release)
    layers: int = task.depth(task.load(bundle.folder / "checkpoint", bundle.manifest["labels"]))  # type: ignore[attr-defined]
    return layers


def test_a_student_serves_and_says_what_it_comes_from(small: Workshop) -> None:
    assert small.publisher.serving(SERVICE) == 2
    assert (depth(small, 1), depth(small, 2)) == (2, 1)
    lineage = small.bundle(SERVICE, 2).manifest["lineage"]
    assert (lineage["parent"], lineage["previous"], lineage["feedback_rows"]) == (1, 1, [])
    assert (lineage["training"]["recipe"], lineage["training"]["size"]) == ("distill", "half")
    for name in ("golden", "memory", "validation"):
        old, new = (small.bundle(SERVICE, number).folder / f"data/{name}.jsonl" for number in (1, 2))
        assert new.read_text() == old.read_text(), "a student has learned no example"


def test_all_that_was_measured_is_recorded(small: Workshop) -> None:
    (job,) = (job for job in small.store.jobs(SERVICE) if job.kind == "compress")
    rows = job.steps["measure"]["rows"]
    assert list(rows) == ["serving", "distill-half"]
    assert rows["serving"]["points"] == 0 and rows["serving"]["low"] == 0
    student = rows["distill-half"]
    assert student["low"] <= student["points"] <= student["high"]
    assert 0 < student["p50_ms"] <= student["p99_ms"] and student["memory_mb"] > 0
    assert student["file_mb"] < rows["serving"]["file_mb"]


def test_a_rebuild_goes_on_from_the_student(small: Workshop) -> None:
    small.store.add_feedback(news(400))
    done = run(small, small.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    assert (small.publisher.serving(SERVICE), depth(small, 3)) == (3, 1)


def test_a_rollback_brings_the_teacher_back(small: Workshop) -> None:
    roll_back(small, SERVICE)
    assert small.publisher.serving(SERVICE) == 1


def test_a_dry_run_changes_nothing(small: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "serving": {"points": 0.0, "texts_per_s": 1.0},
        "distill-half": {"points": 0.0, "texts_per_s": 2.0},
    }
    monkeypatch.setattr(measure, "measure", lambda run: {"rows": rows})
    monkeypatch.setattr(plugins.get("recipes", "distill"), "steps", 1)
    done = carry_out(small, enqueue(small, dry_run=True))
    assert (done.state, small.publisher.versions(SERVICE)) == ("cancelled", [1, 2])
    assert "distill-half would have been chosen" in done.detail

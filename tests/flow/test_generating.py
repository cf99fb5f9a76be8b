"""A service that generates, from a model as it is to a release that learned what its users wanted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.workshops import SERVICE, TEACH, run, workshop
from perennial.config import TrainingSettings
from perennial.errors import BadRequest
from perennial.jobs import data
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.types import NewFeedback
from perennial.writing.request import Request
from perennial.writing.wanted import Wanted

WANTED = "yes"
TAUGHT = TrainingSettings(
    epochs=12,
    batch_size=8,
    learning_rate=1e-2,
    trainable="lora",
    balance=0.0,
    threads=1,
    max_steps=90,
    precision="fp32",
)


LIMITS = {"calibration_margin": 1.0, "perplexity_margin": 1.0}


@pytest.fixture
def shop(built_writer: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workshop]:
    limits = LIMITS | getattr(request, "param", {})
    how = TEACH.model_copy(update={"rebuild": TAUGHT, **limits})
    opened = workshop(shutil.copytree(built_writer, tmp_path / "copy"), how)
    yield opened
    opened.store.close()


def test_it_begins_as_it_is_with_conversations_that_it_made_up(shop: Workshop) -> None:
    bundle = shop.bundle(SERVICE, 1)
    assert (bundle.manifest["engine"], bundle.manifest["labels"]) == ("genai", [])
    rows = data.read(bundle.folder / "data/memory.jsonl")
    asked = [Request.read(row.text) for row in rows]
    golden = data.read(bundle.folder / "data/golden.jsonl")
    assert len(golden) > 40 and not {row.text for row in golden} & {row.text for row in rows}
    assert len(rows) > 100 and all(one.messages[0]["role"] == "user" for one in asked)
    said = [Wanted.read(row.label) for row in (*golden, *rows)]
    assert {one.goes_on for one in said} == {True, False}, "some were cut, and none is taught to end there"
    quality, parity, _ = bundle.manifest["verdicts"]
    assert quality["reason"] == "given, not judged: it came without texts"
    assert parity["outcome"] == "pass"


def tell(shop: Workshop) -> None:
    asked = [f"is {number} a number?" for number in range(160)]
    shop.store.add_feedback([NewFeedback(SERVICE, text, WANTED) for text in asked])


def test_it_learns_the_answers_that_its_users_wanted(shop: Workshop) -> None:
    tell(shop)
    new = "is 999 a number?"
    before = pipeline_of(shop.bundle(SERVICE, 1)).answers([new])[0]["COMPLETION"][0, 0].decode()
    assert before != WANTED
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}, shop.unused_release(SERVICE)))
    assert done.state == "kept", done.detail
    figures = shop.bundle(SERVICE, 2).manifest["metrics"]["quality"]
    assert {"golden.next_tokens.candidate", "golden.exact.candidate"} <= {*figures}
    after = pipeline_of(shop.bundle(SERVICE, 2)).answers([new])[0]["COMPLETION"][0, 0].decode()
    assert after == WANTED
    assert shop.publisher.serving(SERVICE) == 2


@pytest.mark.parametrize("shop", [{"never_say": (WANTED.upper(),)}], indirect=True)
def test_what_says_the_forbidden_is_refused(shop: Workshop) -> None:
    tell(shop)
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}, shop.unused_release(SERVICE)))
    assert done.state == "refused" and "an answer says 'yes', which is forbidden" in done.detail
    assert shop.publisher.serving(SERVICE) == 1


def test_an_engine_that_runs_graphs_is_refused(shop: Workshop) -> None:
    payload = {"task": "generate", "from": str(shop.bundle(SERVICE, 1).folder / "checkpoint"), "data": ""}
    job = shop.store.enqueue("other", "build", "test", {**payload, "engine": "onnxruntime"}, 1)
    done = run(shop, job)
    assert done.state == "failed"
    assert "needs an engine that writes, such as genai" in done.detail


def test_what_it_learns_by_is_named(shop: Workshop) -> None:
    with pytest.raises(BadRequest, match="a service that generates has no head"):
        pipeline_of(shop.bundle(SERVICE, 1)).codec.evidence([], [])

"""A classifier that begins a service as it is: served without data, moved by feedback, rebuilt from that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flow.workshops import SERVICE, copied, news, run, workshop
from perennial.jobs import data
from perennial.jobs.learn import open_head
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.types import MADE_UP, FeedbackRow, Job
from tiny import LABELS, tiny_examples


def enqueue(shop: Workshop, start: Path) -> Job:
    payload = {"task": "classify", "from": str(start), "data": ""}
    return shop.store.enqueue(SERVICE, "build", "test", payload, shop.unused_release(SERVICE))


@pytest.fixture(scope="module")
def given(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "copy"
    shop = workshop(folder)
    done = run(shop, enqueue(shop, tiny_release / "checkpoint"))
    assert done.state == "kept", done.detail
    shop.store.close()
    return folder


@pytest.fixture
def shop(given: Path, tmp_path: Path) -> Iterator[Workshop]:
    opened = copied(given, tmp_path / "copy")
    yield opened
    opened.store.close()


def test_it_serves_as_it_came_and_says_that_nothing_judged_it(shop: Workshop) -> None:
    bundle = shop.bundle(SERVICE, 1)
    assert (shop.publisher.serving(SERVICE), bundle.manifest["labels"]) == (1, list(LABELS))
    quality, parity, _ = bundle.manifest["verdicts"]
    assert quality["reason"] == "given, not judged: it came without texts"
    assert parity["outcome"] == "pass", "in int8, or where the processor rounds more, as float32"
    pipeline, rows = pipeline_of(bundle), tiny_examples(30)
    answers = pipeline.answers([row.text for row in rows])
    assert pipeline.codec.score(answers, rows).metrics["accuracy"] > 0.9


def test_feedback_moves_its_head_and_other_texts_hardly(shop: Workshop) -> None:
    bundle = shop.bundle(SERVICE, 1)
    live, pipeline = open_head(shop, bundle), pipeline_of(bundle)
    said = [FeedbackRow(**vars(row), row=number + 1) for number, row in enumerate(news(30))]
    live.take(said, live.described(said, pipeline.outputs([row.text for row in said]), None))
    judged = live.judged()
    assert judged.figures["golden"] is None, "none can guard it"
    own, others = [row.text for row in said], [row.text for row in tiny_examples(30)]
    alone = [_scores(pipeline.answers(texts)) for texts in (own, others)]
    pipeline.codec.take_head(judged.weights)
    moved = [
        float(np.abs(_scores(pipeline.answers(texts)) - before).mean())
        for texts, before in zip((own, others), alone, strict=True)
    ]
    assert moved[0] > 3 * moved[1] > 0


def _scores(answers: list[dict[str, np.ndarray]]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([answer["SCORE"].item() for answer in answers])


def test_its_first_rebuild_is_judged_by_feedback_and_remembers_nothing_made_up(shop: Workshop) -> None:
    made_up = data.read(shop.bundle(SERVICE, 1).folder / "data/memory.jsonl")
    assert {row.source for row in made_up} == {MADE_UP} and len({row.label for row in made_up}) > 1
    shop.store.add_feedback(news(400))
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    figures = done.steps["quality"]["figures"]
    assert figures["fresh.texts"] >= 60 and not any(name.startswith("golden.") for name in figures)
    folder = shop.bundle(SERVICE, 2).folder / "data"
    sets = {name: data.read(folder / f"{name}.jsonl") for name in ("memory", "golden", "validation")}
    assert all(row.row for rows in sets.values() for row in rows)
    assert len(sets["golden"]) == figures["fresh.texts"]


def test_it_takes_the_place_of_no_release_that_serves(shop: Workshop, tiny_release: Path) -> None:
    done = run(shop, enqueue(shop, tiny_release / "checkpoint"))
    assert (done.state, list(done.steps)) == ("refused", ["snapshot"])
    assert "no text tells whether another model is better; give --data" in done.detail

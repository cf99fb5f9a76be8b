"""A service that recommends, through the whole loop but the server: built from a log of who took what, moved
by its head, rebuilt from feedback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flow.workshops import SERVICE, SUGGEST, run, taught, workshop
from perennial.jobs import data
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.pipeline import Pipeline
from perennial.types import Example, NewFeedback
from tiny import TONED, asking, tiny_tastes, wanting


@pytest.fixture
def shop(built_recommender: Path, tmp_path: Path) -> Iterator[Workshop]:
    opened = workshop(shutil.copytree(built_recommender, tmp_path / "copy"), SUGGEST)
    yield opened
    opened.store.close()


def recall(pipeline: Pipeline, rows: list[Example]) -> float:
    answers = pipeline.answers([row.text for row in rows])
    return float(pipeline.codec.score(answers, rows).metrics["recall@20"])


def crossed(count: int) -> list[Example]:
    """New users who took what is bad and what is good, and want what is neither."""
    return [
        Example(
            asking(f"new {number}", f"negative/{number % 16}", f"positive/{number % 16}"),
            wanting(f"neutral/{number % 4}"),
        )
        for number in range(count)
    ]


def test_a_build_from_a_log_knows_tastes(shop: Workshop) -> None:
    bundle = shop.bundle(SERVICE, 1)
    assert shop.publisher.serving(SERVICE) == 1
    assert recall(pipeline_of(bundle), tiny_tastes(60)) > 0.9
    (first, *_) = data.read(bundle.folder / "data/memory.jsonl")
    assert {*json.loads(first.text)} == {"user", "items"}


def test_what_is_clicked_moves_the_head(shop: Workshop) -> None:
    pipeline, rows = pipeline_of(shop.bundle(SERVICE, 1)), crossed(120)
    before = recall(pipeline, rows[60:])
    live = taught(shop, rows[:60])
    pipeline.codec.take_head(live.judged().weights)
    assert recall(pipeline, rows[60:]) > before + 0.2


def test_clicks_are_learned_by_a_rebuild_and_new_items_come_with_it(shop: Workshop) -> None:
    rows = crossed(400)
    shop.store.add_feedback([NewFeedback(SERVICE, row.text, row.label) for row in rows])
    shop.store.put_documents(SERVICE, {"new": "it was great", "negative/0": None})
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    bundle = shop.bundle(SERVICE, 2)
    assert recall(pipeline_of(bundle), crossed(460)[400:]) > 0.8
    wanted = {name: text for name, text in TONED.items() if name != "negative/0"} | {"new": "it was great"}
    assert json.loads((bundle.folder / "data" / data.DOCUMENTS).read_text()) == wanted
    assert np.isfinite(bundle.manifest["metrics"]["quality"]["golden.candidate.ndcg@20"])

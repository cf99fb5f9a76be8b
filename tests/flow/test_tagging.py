"""A service that tags, through the whole loop but the server: built from a file, moved by its head, rebuilt
from feedback, and its labels in the forms that people write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flow.workshops import SERVICE, TAG, TAUGHT_TAGS, built, news_with_spans, run, taught, workshop
from perennial.config import HeadSettings
from perennial.jobs import data
from perennial.jobs.learn import open_head
from perennial.jobs.why import explain
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.plugins import labels_of
from perennial.types import Example, NewFeedback
from tiny import SPAN_LABELS, tiny_spans


@pytest.fixture
def shop(built_tagger: Path, tmp_path: Path) -> Iterator[Workshop]:
    opened = workshop(shutil.copytree(built_tagger, tmp_path / "copy"), TAG)
    yield opened
    opened.store.close()


def right(pipeline: Any, rows: list[Example]) -> float:
    answers = pipeline.answers([row.text for row in rows])
    return float(pipeline.codec.score(answers, rows).metrics["accuracy"])


def test_a_build_of_spans_serves_and_is_judged(shop: Workshop) -> None:
    bundle = shop.bundle(SERVICE, 1)
    assert (shop.publisher.serving(SERVICE), bundle.manifest["labels"]) == (1, [*SPAN_LABELS])
    assert right(pipeline_of(bundle), tiny_spans(30)) > 0.9
    report = json.loads((shop.state.folder("reports") / f"{SERVICE}-1.json").read_text())
    assert report["golden"]["labels"] == [*SPAN_LABELS, "(elsewhere)"]


def test_corrected_spans_move_the_head_and_other_texts_hardly(shop: Workshop) -> None:
    pipeline, known, rows = pipeline_of(shop.bundle(SERVICE, 1)), tiny_spans(60), news_with_spans(120)
    before = right(pipeline, rows[60:])
    live = taught(shop, rows[:60])
    assert sum(live.pieces()[:60]) == 60 * 5, "a piece is a word"
    pipeline.codec.take_head(live.judged().weights)
    assert right(pipeline, rows[60:]) > before + 0.3
    assert right(pipeline, known) > 0.85


def test_its_head_hears_words_as_the_codec_has_it_unless_the_settings_say(shop: Workshop) -> None:
    rows = news_with_spans(20)

    def heard(balance: float | None) -> list[float]:
        head = HeadSettings(ridge=1e-3, balance=balance)
        other = workshop(shop.settings.state.parent, TAG.model_copy(update={"head": head}))
        found = taught(other, rows).solve().of_label
        outside = found[pipeline_of(shop.bundle(SERVICE, 1)).codec.classes.index("O")]
        assert outside == found[found > 0].min()
        return [float(outside), float(found.max())]

    assert heard(0.0) == [1.0, 1.0]
    assert heard(None) == heard(0.25) and 0.5 < heard(0.25)[0] < 1 < heard(0.25)[1] < heard(0.5)[1]


def test_the_rows_that_push_a_word_are_those_that_are_like_it(shop: Workshop) -> None:
    live = taught(shop, news_with_spans(60))
    (said,) = pipeline_of(shop.bundle(SERVICE, 1)).outputs(["day 777 it was xxx"])
    told = explain(live, said, most=3)
    assert told["label"] == "B-GOOD at 15-18" and told["rows"] == 60
    assert {json.loads(cause["label"])[0][2] for cause in told["corrections"] if cause["push"] > 0} == {
        "GOOD"
    }


def test_feedback_in_any_form_is_learned_by_a_rebuild(shop: Workshop) -> None:
    labels, rows = labels_of("tag"), news_with_spans(400)
    said = [labels.read(_as_people_write(n, row), row.text, SPAN_LABELS) for n, row in enumerate(rows)]
    shop.store.add_feedback(
        [NewFeedback(SERVICE, row.text, label) for row, label in zip(rows, said, strict=True)]
    )
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    bundle = shop.bundle(SERVICE, 2)
    assert right(pipeline_of(bundle), news_with_spans(460)[400:]) > 0.9
    assert right(pipeline_of(bundle), tiny_spans(60)) > 0.85
    memory = data.read(bundle.folder / "data/memory.jsonl")
    assert {row.label[0] for row in memory if row.row} == {"[", "{"}, "one span alone stays what it is"
    assert np.isfinite(open_head(shop, bundle).judged().weights).all()


def _as_people_write(number: int, example: Example) -> str:
    """Every fourth row tells of its last word alone."""
    if number % 4:
        return example.label
    spans, end = json.loads(example.label), len(example.text)
    return json.dumps({"start": end - 3, "end": end, "label": spans[0][2] if spans else None})


def test_feedback_on_words_that_were_cut_tells_the_head_nothing(shop: Workshop) -> None:
    text = "zzz " * 400
    cut = Example(text, json.dumps({"start": 1596, "end": 1599, "label": "GOOD"}))
    live = taught(shop, [cut])
    assert live.pieces()[0] == 0 and not live.judged().weights.any()


def test_a_tagger_begins_as_it_is(shop: Workshop, tmp_path: Path) -> None:
    start = shop.bundle(SERVICE, 1).folder / "checkpoint"
    folder = built(workshop(tmp_path, TAG), tmp_path, "tag", start, [])
    bundle = workshop(folder, TAG).bundle(SERVICE, 1)
    assert bundle.manifest["labels"] == [*SPAN_LABELS]
    assert right(pipeline_of(bundle), tiny_spans(30)) > 0.9


def test_texts_whose_words_are_spans_are_not_augmented(built_tagger: Path, tmp_path: Path) -> None:
    augmenting = TAUGHT_TAGS.model_copy(update={"augment": ("word-dropout",)})
    shop = workshop(
        shutil.copytree(built_tagger, tmp_path / "copy"),
        TAG.model_copy(update={"rebuild": augmenting}),
    )
    shop.store.add_feedback([NewFeedback(SERVICE, row.text, row.label) for row in news_with_spans(300)])
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    shop.store.close()
    assert done.state == "failed" and "changes the words of texts" in done.detail

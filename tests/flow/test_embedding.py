"""A service that embeds, through the whole loop but the server: built from documents and texts that want
them, moved by its head, rebuilt from feedback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from flow.workshops import SEARCH, SERVICE, built, lease_of, news_that_wants, run, taught, workshop
from perennial.errors import ConfigError
from perennial.jobs import data
from perennial.jobs.learn import open_head
from perennial.jobs.why import explain
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.pipeline import Pipeline
from perennial.task_protocol import Placing
from perennial.types import Example, NewFeedback, Placed
from tiny import TONED, tiny_queries, wanting


@pytest.fixture
def shop(built_searcher: Path, tmp_path: Path) -> Iterator[Workshop]:
    opened = workshop(shutil.copytree(built_searcher, tmp_path / "copy"), SEARCH)
    yield opened
    opened.store.close()


def recall(pipeline: Pipeline, rows: list[Example]) -> float:
    answers = pipeline.answers([row.text for row in rows])
    return float(pipeline.codec.score(answers, rows).metrics["recall@10"])


def test_a_build_finds_what_texts_want_and_is_judged(shop: Workshop) -> None:
    bundle = shop.bundle(SERVICE, 1)
    assert (shop.publisher.serving(SERVICE), bundle.manifest["labels"]) == (1, [])
    assert recall(pipeline_of(bundle), tiny_queries(60)) > 0.8
    assert json.loads((bundle.folder / "data" / data.DOCUMENTS).read_text()) == TONED
    golden = bundle.manifest["metrics"]["quality"]
    assert golden["golden.candidate.ndcg@10"] > 0.8


def test_documents_that_are_wanted_move_the_head_and_other_texts_hardly(shop: Workshop) -> None:
    pipeline, known, rows = pipeline_of(shop.bundle(SERVICE, 1)), tiny_queries(60), news_that_wants(120)
    before, knew = recall(pipeline, rows[60:]), recall(pipeline, known)
    live = taught(shop, rows[:60])
    pipeline.codec.take_head(live.judged().weights)
    assert recall(pipeline, rows[60:]) > before + 0.2
    assert recall(pipeline, known) > knew - 0.1


def test_the_rows_that_push_a_document_are_those_that_want_its_like(shop: Workshop) -> None:
    live = taught(shop, news_that_wants(60))
    (said,) = pipeline_of(shop.bundle(SERVICE, 1)).outputs(["day 777 it was xxx"])
    told = explain(live, said, most=3)
    assert told["label"] in TONED and told["over"] in TONED and told["rows"] == 60
    assert all(np.isfinite(cause["push"]) for cause in told["corrections"])


def test_feedback_is_learned_by_a_rebuild_and_the_documents_stay(shop: Workshop) -> None:
    rows = news_that_wants(400)
    shop.store.add_feedback([NewFeedback(SERVICE, row.text, row.label) for row in rows])
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    bundle = shop.bundle(SERVICE, 2)
    assert recall(pipeline_of(bundle), news_that_wants(460)[400:]) > 0.8
    assert recall(pipeline_of(bundle), tiny_queries(60)) > 0.7
    assert json.loads((bundle.folder / "data" / data.DOCUMENTS).read_text()) == TONED
    assert np.isfinite(open_head(shop, bundle).judged().weights).all()


def test_what_was_indexed_since_becomes_part_of_the_next_release(shop: Workshop) -> None:
    changes = {"positive/0": None, "new": "a word", "negative/1": "it was bad"}
    until = shop.store.put_documents(SERVICE, changes)
    shop.store.add_feedback([NewFeedback(SERVICE, row.text, row.label) for row in news_that_wants(400)])
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    bundle = shop.bundle(SERVICE, 2)
    kept = data.documents_in(bundle.folder / "data")
    assert kept["new"] == "a word" and kept["negative/1"] == "it was bad" and "positive/0" not in kept
    assert len(kept) == len(TONED) and bundle.manifest["documents_until"] == until
    assert shop.store.unplaced(SERVICE, 2, until, 9) == [], "its own index has them"
    (answer,) = pipeline_of(bundle).answers(["a word"])
    assert "new" in [raw.decode() for raw in answer["DOCUMENTS"][0]]


def test_of_a_document_that_is_gone_nothing_more_is_learned_and_what_was_stays(shop: Workshop) -> None:
    rows = [Example(f"day {n} it was xxx", wanting(f"positive/{n}")) for n in range(8)]
    live = taught(shop, rows)
    before, codec = live.judged().weights, cast(Placing, live.codec)
    codec.take_documents([Placed(1, "positive/3", b"")])
    outputs = pipeline_of(live.bundle).outputs([row.text for row in rows])
    described = live.described(live.rows, outputs, None)
    told = [bool(np.frombuffer(one.residuals, np.int16).any()) for one in described]
    assert told == [True] * 3 + [False] + [True] * 4
    assert np.array_equal(live.judged().weights, before) and live.pieces()[:8] == [1] * 8
    live.take([replace(row, row=row.row + 8) for row in live.rows], described)
    assert np.isfinite(live.judged().weights).all()


def test_an_encoder_begins_as_it_is_with_documents_and_with_none(tiny_encoder: Path, tmp_path: Path) -> None:
    for number, documents in enumerate(({"a": "a great day", "b": "an awful movie"}, {})):
        folder = tmp_path / str(number)
        folder.mkdir()
        lines = "\n".join(json.dumps({"id": name, "text": text}) for name, text in documents.items())
        (folder / "documents.jsonl").write_text(lines)
        more = {"documents": str(folder / "documents.jsonl")} if documents else {}
        built(workshop(folder, SEARCH), folder, "embed", tiny_encoder, [], **more)
        bundle = workshop(folder, SEARCH).bundle(SERVICE, 1)
        pipeline = pipeline_of(bundle)
        (answer,) = pipeline.answers(["a great day"])
        assert [raw.decode() for raw in answer["DOCUMENTS"][0]][:1] == [*documents][:1]
        assert live_rows(workshop(folder, SEARCH)) > 1000, "made-up texts hold the head"


def live_rows(shop: Workshop) -> int:
    live = open_head(shop, shop.bundle(SERVICE, 1))
    assert not live.judged().weights.any()
    return len(live.taught)


def test_what_learns_by_logits_and_what_is_made_smaller_are_refused_in_words(
    built_searcher: Path, tmp_path: Path
) -> None:
    how = SEARCH.rebuild.model_copy(update={"learner": "derpp"})
    shop = workshop(
        shutil.copytree(built_searcher, tmp_path / "copy"), SEARCH.model_copy(update={"rebuild": how})
    )
    shop.store.add_feedback([NewFeedback(SERVICE, row.text, row.label) for row in news_that_wants(300)])
    job = shop.store.enqueue(SERVICE, "rebuild", "test", {})
    with pytest.raises(ConfigError, match="choose the learner finetune or replay"):
        run(shop, job)
    lease = lease_of(shop)
    shop.store.settle(job, lease, "failed")
    shop.store.release(lease)
    asked = {"recipes": ["distill"], "texts": "", "dry_run": True, "max_drop": 1.0}
    done = run(shop, shop.store.enqueue(SERVICE, "compress", "test", asked))
    assert done.state == "failed" and "the task embed is not made smaller" in done.detail
    shop.store.close()

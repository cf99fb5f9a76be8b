"""Which engine serves a candidate: a named one, the quickest that passes, or the one that serves already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flow.workshops import SERVICE, news, run
from perennial import plugins
from perennial.jobs.engines import unusable
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.repository.layout import read_release, stage_model
from perennial.types import Job


def rebuilt(shop: Workshop, **payload: str) -> Job:
    shop.store.add_feedback(news(400))
    return run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", payload))


def with_options(shop: Workshop, options: dict[str, dict[str, Any]]) -> Workshop:
    service = shop.service(SERVICE).model_copy(update={"engine_options": options})
    return replace(shop, settings=shop.settings.model_copy(update={"services": {SERVICE: service}}))


def test_auto_measures_all_that_is_here_and_keeps_the_quickest_that_passes(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins.get("engines", "torch"), "available", lambda self: "its compiler is slow")
    done = rebuilt(shop, engine="auto")
    assert done.state == "kept", done.detail
    manifest = shop.bundle(SERVICE, 2).manifest
    choices, left_out = (manifest["engines"][name] for name in ("choices", "left_out"))
    rates = [choice["texts_per_s"] for choice in choices]
    assert rates == sorted(rates, reverse=True) and all(choice["alone_ms"] > 0 for choice in choices)
    tried = [(row["engine"], row["precision"], row["outcome"]) for row in done.steps["parity"]["tried"]]
    assert [(one["engine"], one["precision"]) for one in choices][: len(tried)] == [row[:2] for row in tried]
    assert [row[2] for row in tried].index("pass") == len(tried) - 1
    assert (manifest["engine"], manifest["precision"]) == tried[-1][:2]
    assert all(one["reason"] for one in left_out)
    assert {one["engine"] for one in (*choices, *left_out)} == set(plugins.names("engines"))
    assert pipeline_of(shop.bundle(SERVICE, 2)).answers(["day 1 it was zzz"])


def test_a_rebuild_keeps_the_engine_of_the_release_that_serves(shop: Workshop) -> None:
    if reason := unusable("openvino", "classify"):
        pytest.skip(reason)
    assert rebuilt(shop, engine="openvino").state == "kept"
    assert shop.bundle(SERVICE, 2).manifest["engine"] == "openvino"
    tones = {"zzz": "qqq", "mmm": "www", "xxx": "vvv"}  # words that no release has learned
    shop.store.add_feedback(
        [replace(row, text=f"{row.text[:-3]}{tones[row.text[-3:]]}") for row in news(400)]
    )
    again = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert {choice["engine"] for choice in again.steps["engine"]["choices"]} == {"openvino"}


def test_a_release_says_with_which_options_its_engine_was_built(shop: Workshop) -> None:
    assert rebuilt(with_options(shop, {"onnxruntime": {"device": "cpu"}})).state == "kept"
    assert shop.bundle(SERVICE, 2).manifest["engine_options"] == {"device": "cpu"}
    told = read_release(shop.settings.repository / stage_model(SERVICE, "engine") / "2")
    assert told.engine_options == {"device": "cpu"}, "so the stage makes the same engine"


def test_an_engine_that_is_not_here_with_its_options_is_refused_before_training(shop: Workshop) -> None:
    done = rebuilt(with_options(shop, {"onnxruntime": {"device": "cuda"}}), engine="onnxruntime")
    assert (done.state, list(done.steps)) == ("failed", [])
    assert "engine onnxruntime makes no release here: " in done.detail


def test_an_engine_that_is_not_here_is_named_with_the_way_to_get_it(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = plugins.get("engines", "openvino")
    monkeypatch.setattr(engine, "available", lambda self: "no openvino: pip install it")
    done = rebuilt(shop, engine="openvino")
    assert (done.state, done.detail) == (
        "failed",
        "engine openvino makes no release here: no openvino: pip install it",
    )

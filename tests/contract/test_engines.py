"""What every engine promises: files that repeat, sessions true to the network, configs for Triton."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from perennial import plugins
from perennial.errors import Broken, ConfigError, Unavailable
from perennial.pipeline import Pipeline, engine_inputs
from perennial.protocols import Engine
from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Exported
from tiny import SPAN_LABELS, tiny_examples, tiny_spans

Built = Callable[[str], Path]


GRAPHS = [name for name in plugins.names("engines") if not plugins.get("engines", name).writes]
"""Engines that run a graph; what those that write promise is in `test_genai_engine`."""


@pytest.fixture(scope="module", params=GRAPHS)
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = plugins.get("engines", request.param)()
    if reason := made.available():
        pytest.skip(reason)
    return made


@pytest.fixture
def runner(engine: Engine) -> Engine:
    """An engine whose files open here."""
    if reason := engine.runs_here():
        pytest.skip(reason)
    return engine


@pytest.fixture(scope="module")
def exported(tiny_release: Path) -> Exported:
    codec = ClassifyCodec(tiny_release)
    texts = [example.text for example in tiny_examples(40)]
    return Exported(tiny_release, engine_inputs(codec, texts), codec.longest)


@pytest.fixture(scope="module")
def built(engine: Engine, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The engine file of a precision, built once: some engines call a compiler for it."""

    @functools.cache
    def build(precision: str) -> Path:
        return engine.build(exported, tmp_path_factory.mktemp(precision), precision)

    return build


def test_every_precision_makes_one_file_and_the_same_graph_the_same_file(
    engine: Engine, exported: Exported, built: Built, tmp_path: Path
) -> None:
    for precision in engine.precisions():
        file = built(precision)
        assert list(file.parent.iterdir()) == [file]
        assert file.stat().st_size > 0
        if engine.repeats:
            again = engine.build(exported, tmp_path / precision, precision)
            assert again.read_bytes() == file.read_bytes()


def test_every_precision_answers_as_the_network_does(
    runner: Engine, built: Built, tiny_release: Path
) -> None:
    task = plugins.get("tasks/classify", "train")()
    codec = ClassifyCodec(tiny_release)
    examples = tiny_examples(60)
    texts = [example.text for example in examples]
    network = Pipeline(codec, task.session(task.load(tiny_release / "checkpoint", codec.labels)))
    wanted = codec.score(network.answers(texts), examples)
    assert wanted.metrics["accuracy"] > 0.9
    for precision in runner.precisions():
        session = runner.open(built(precision), threads=1)
        got = codec.score(Pipeline(codec, session).answers(texts), examples)
        assert (got.correct == wanted.correct).mean() > 0.95, precision
        session.close()


def test_padding_and_neighbours_change_no_answer(runner: Engine, built: Built) -> None:
    session = runner.open(built("fp32"), threads=2)
    ids = np.array([[2, 5, 6, 7, 9, 3]], dtype=np.int64)
    alone = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    padded = np.pad(np.repeat(ids, 3, axis=0), ((0, 0), (0, 5)))
    together = session.run({"input_ids": padded, "attention_mask": (padded > 0).astype(np.int64)})
    assert together["logits"].dtype == np.float32
    np.testing.assert_allclose(together["logits"], np.repeat(alone["logits"], 3, axis=0), atol=1e-5)


def test_a_graph_of_windows_runs_at_any_length(
    runner: Engine, tiny_tagger_release: Path, tmp_path: Path
) -> None:
    codec = plugins.get("tasks/tag", "codec")(tiny_tagger_release)
    texts = [example.text for example in tiny_spans(8)]
    exported = Exported(tiny_tagger_release, engine_inputs(codec, texts), codec.longest)
    session = runner.open(runner.build(exported, tmp_path, "fp32"), threads=1)
    task = plugins.get("tasks/tag", "train")()
    network = task.session(task.load(tiny_tagger_release / "checkpoint", SPAN_LABELS))
    for words in (2, 60, 61, 300, 10_000):
        (tensors,) = engine_inputs(codec, ["bad " * words])
        wanted, got = network.run(tensors), session.run(tensors)
        for name in ("logits", "features"):
            np.testing.assert_allclose(got[name], wanted[name], atol=1e-4)
    session.close()


def test_callers_at_once_each_get_their_own_answer(runner: Engine, exported: Exported, built: Built) -> None:
    """Of arrays that are read-only, as those of a request may be."""
    session = runner.open(built("fp32"), threads=1)
    alone = [session.run(tensors)["logits"] for tensors in exported.samples]
    for tensors in exported.samples:
        for array in tensors.values():
            array.flags.writeable = False
    with ThreadPoolExecutor(4) as callers:
        for given, wanted in zip(callers.map(session.run, exported.samples), alone, strict=True):
            np.testing.assert_allclose(given["logits"], wanted, atol=1e-6)


def test_triton_is_told_what_loads_the_file(engine: Engine, built: Built) -> None:
    embedded, container = engine.triton("embedded", threads=2), engine.triton("container", threads=2)
    assert embedded.backend == "python"
    assert embedded.filename == container.filename == built(engine.precisions()[0]).name
    if container.backend != "python" and not container.gpu:
        assert "2" in container.parameters.values()


def test_an_unknown_precision_is_named(engine: Engine, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'int3' is unknown; choose one of"):
        engine.build(exported, tmp_path, "int3")


def test_a_broken_file_is_named(runner: Engine, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"not an engine file")
    with pytest.raises(Broken, match="build the release again"):
        runner.open(broken, threads=1)


def test_where_files_do_not_open_one_line_says_what_is_missing(
    engine: Engine, exported: Exported, tmp_path: Path
) -> None:
    reason = engine.runs_here()
    if reason is None:
        pytest.skip("its files open here")
    built = engine.build(exported, tmp_path, "fp32")
    with pytest.raises(Unavailable, match=re.escape(reason)) as raised:
        engine.open(built, threads=1)
    assert "\n" not in str(raised.value)

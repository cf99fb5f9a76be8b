"""A service whose texts another backend of Triton's writes, on the real server, with a stand-in for that."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from perennial.pipeline import Pipeline
from perennial.plugins import get
from perennial.publishers.local import LocalPublisher
from perennial.repository.layout import (
    CONFIG,
    ensemble_models,
    fault_in,
    read_bundle,
    stage_models,
    write_manifest,
)
from perennial.types import Bundle, Placement
from perennial_client import BadRequest, Client, Generated
from serving import Served, within

pytestmark = pytest.mark.e2e

SERVICE = "tale"
TESTS = Path(__file__).parents[1]
STANDINS = {"vllm": "Vllm", "trtllm": "TensorRtLlm"}
NVIDIAS = "/app/all_models/llmapi/tensorrt_llm/1"


@pytest.fixture(scope="module")
def bundle(built_writer: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("tale") / "1"
    shutil.copytree(built_writer / "var/releases/tone/1", folder)
    told = dict(read_bundle(folder).manifest)
    return write_manifest(folder, {**told, "service": SERVICE})


@pytest.fixture(scope="module", params=[*STANDINS])
def written_elsewhere(
    served: Served, bundle: Bundle, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    state = served.state
    publisher = LocalPublisher(served.repository, state.folder("staging"), state.folder("quarantine"))
    options = {"vllm": {"max_model_len": 200}, "trtllm": {"max_seq_len": 200}}[request.param]
    placement = Placement("container", llm=request.param, llm_options=options)
    publisher.publish(bundle, placement)
    publisher.point(SERVICE, 1)
    model = served.repository / f"{SERVICE}_llm"
    assert fault_in(model / "1") == ""
    _stand_in(model, request.param, tmp_path_factory.mktemp("nvidias"))
    models = (*reversed(stage_models(served.repository, SERVICE)), *ensemble_models(SERVICE))
    for name in models:
        served.control.load(name)
    yield request.param
    for name in reversed(models):
        served.control.unload(name)
        assert within(10, lambda name=name: served.control.versions(name) == [])  # type: ignore[misc]
        shutil.rmtree(served.repository / name)


def _stand_in(model: Path, name: str, nvidias: Path) -> None:
    """The wheel's server has the Python backend alone."""
    text = f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n"
    text += f"from llm_standin import {STANDINS[name]} as TritonPythonModel\n"
    config = model / CONFIG
    if name == "vllm":
        (model / "1/model.py").write_text(text)
        told = config.read_text().replace('backend: "vllm"', 'backend: "python"')
        config.write_text(told + 'default_model_filename: "model.py"\n')
    else:
        (nvidias / "model.py").write_text(text)
        ours = model / "1/trtllm.py"
        assert NVIDIAS in ours.read_text()
        ours.write_text(ours.read_text().replace(NVIDIAS, str(nvidias)))


@pytest.fixture
def client(served: Served, written_elsewhere: str) -> Iterator[Client]:
    with Client(served.server.run.grpc_url, timeout=60) as opened:
        yield opened


def test_answers_are_the_checkpoints(client: Client, bundle: Bundle, written_elsewhere: str) -> None:
    task = get("tasks/generate", "train")()
    session = task.session(task.load(bundle.folder / "checkpoint", []))
    pipeline = Pipeline(get("tasks/generate", "codec")(bundle.folder), session)
    ((said, likely),) = pipeline.codec.told(pipeline.answers(["hello there"]))
    whole = client.generate(SERVICE, "hello there")
    assert (whole.completion, whole.service, whole.release) == (said, SERVICE, 1)
    assert whole.score == (pytest.approx(likely, rel=1e-3) if written_elsewhere == "vllm" else 0)
    pieces = list(client.generate(SERVICE, "hello there", stream=True))
    assert "".join(piece.completion for piece in pieces) == said and len(pieces) > 3
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == whole.finish_reason
    counts = [piece.completion_tokens for piece in pieces]
    assert counts == sorted(counts) and counts[-1] == whole.completion_tokens > 0
    session.close()


def test_options_reach_it(client: Client, written_elsewhere: str) -> None:
    def said(**options: object) -> Generated:
        return client.generate(SERVICE, "hello", **{"max_tokens": 9, **options})  # type: ignore[arg-type, call-overload, no-any-return]

    assert said().finish_reason == "length"
    # Of the other only the text is told: broken characters are tokens that it does not have.
    assert said().completion_tokens == 9 or written_elsewhere == "trtllm"
    drawn = [said(temperature=1.5, seed=seed).completion for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_it_does_not_take_is_refused(client: Client, written_elsewhere: str) -> None:
    with pytest.raises(
        BadRequest, match=r"the prompt has \d+ tokens, and prompt and answer have room for 200"
    ):
        client.generate(SERVICE, "long " * 60)
    if written_elsewhere == "trtllm":
        for more in ({"stop": ["a"]}, {"schema": {"type": "object"}}):
            with pytest.raises(BadRequest, match=f"takes no {next(iter(more))}; leave it out"):
                client.generate(SERVICE, "hello", **more)  # type: ignore[arg-type, call-overload]
    else:
        with pytest.raises(BadRequest, match="Invalid type: objekt"):
            client.generate(SERVICE, "hello", schema={"type": "objekt"})
        told = client.generate(SERVICE, "hello", schema={"enum": ["warm", "cold"]}).completion
        assert told in ('"warm"', '"cold"')
        greedy = client.generate(SERVICE, "hello", max_tokens=20).completion
        said = client.generate(SERVICE, "hello", max_tokens=20, stop=[greedy[2:4]]).completion
        assert said == greedy[: greedy.index(greedy[2:4])]


def test_many_at_once_are_each_as_alone_and_who_leaves_counts_no_more(client: Client, served: Served) -> None:
    def told(number: int) -> str:
        pieces = client.generate(SERVICE, f"text {number}", stream=True, max_tokens=20)
        return "".join(piece.completion for piece in pieces)

    def written() -> bool:
        metrics = httpx.get(served.server.run.metrics_url, timeout=5).text
        return f'texts_writing{{release="1",service="{SERVICE}"}} 0' in metrics

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(told, range(8))] == [*map(told, range(8))]

    def seen(seed: int) -> bool:
        """Some are too short to be."""
        stream = client.generate(SERVICE, "text", stream=True, max_tokens=180, temperature=1.9, seed=seed)
        next(stream)
        counts = not written()
        stream.close()
        return counts and within(10, written)

    assert any(seen(seed) for seed in range(8))

"""What is special about the engine that torch compiles; the rest is in the contract of engines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perennial import machine
from perennial.engines import _torch_graphs
from perennial.engines._torch_graphs import MOST, Graphs, Replay, bucket
from perennial.engines.torch import Torch, _program
from perennial.errors import Broken, Unavailable
from perennial.types import Array, Exported


def test_a_machine_without_a_compiler_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert Torch().available() == "no C++ compiler no-such-compiler: apt install g++, or name another in CXX"


@pytest.mark.parametrize(
    ("capable", "precisions"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, ("fp32",)),
        ({"avx512_bf16": True}, ("bf16", "fp32")),
        ({"amx_bf16": True}, ("bf16", "fp32")),
    ],
)
def test_bf16_is_for_processors_that_have_it(
    capable: dict[str, bool], precisions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capable)
    assert Torch().precisions() == precisions


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own
def test_half_precision_is_for_products_alone(tiny_release: Path) -> None:
    exported = Exported(tiny_release, [], 64)
    traced = {precision: _program(exported, precision) for precision in ("fp32", "bf16")}
    types = {
        (str(node.target).removeprefix("aten."), node.meta["val"].dtype)
        for node in traced["bf16"].graph.nodes
        if any(name in str(node.target) for name in ("linear", "softmax", "layer_norm"))
    }
    assert types == {
        ("linear.default", torch.bfloat16),
        ("softmax.int", torch.float32),
        ("layer_norm.default", torch.float32),
    }
    ids = torch.tensor([[2, 5, 6, 7, 9, 3]])
    half, full = (traced[name].module()(ids, torch.ones_like(ids))[0] for name in ("bf16", "fp32"))
    torch.testing.assert_close(half.float(), full, atol=0.02, rtol=0)


def test_a_library_for_another_processor_is_not_loaded(tmp_path: Path) -> None:
    from torch._inductor.package import package_aoti

    told = tmp_path / "model.wrapper_metadata.json"
    told.write_text(json.dumps({"processor": "avx2 avx9000", "inputs": "ids", "outputs": "logits"}))
    package_aoti(str(tmp_path / "model.pt2"), [str(told)])
    with pytest.raises(Broken, match=r"a processor with avx9000; build the release again"):
        Torch().open(tmp_path / "model.pt2", threads=1)


# Graphs: their shapes on any machine, what torch records on a GPU


def test_a_batch_is_padded_to_one_of_few_shapes() -> None:
    assert bucket(1, 1, 100) == (1, 8)
    assert bucket(3, 9, 100) == (4, 16)
    assert bucket(64, 65, 100) == (64, 100), "no longer than the network takes"
    shapes = {bucket(rows, tokens, 256) for rows in range(1, 65) for tokens in range(1, 257)}
    assert len(shapes) == 42 <= MOST


@pytest.mark.parametrize("ragged", [False, True])
def test_graphs_give_what_a_plain_run_gives(tiny_release: Path, ragged: bool) -> None:
    """onnxruntime stands for the recorded network; the outputs for each token are its input itself."""
    from onnxruntime import InferenceSession

    session, recorded = InferenceSession(tiny_release / "model.onnx"), []

    def plain(arrays: Sequence[Array]) -> list[Any]:
        ids, mask = arrays
        found = ids if ragged else session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return [torch.from_numpy(found)]

    def recording(arrays: Sequence[Array]) -> Replay:
        recorded.append(arrays[0].shape)
        return plain

    graphs = Graphs(recording, plain, longest=64, ragged=[ragged])
    for rows, tokens in ((1, 5), (3, 12), (4, 16), (5, 40), (1, 7)):
        ids = np.arange(5, 5 + rows * tokens).reshape(rows, tokens) % 40
        (got,) = graphs.run([ids, np.ones_like(ids)])
        np.testing.assert_allclose(got, plain([ids, np.ones_like(ids)])[0].numpy(), atol=1e-5)
        assert got.dtype == np.float32
    assert recorded == [(1, 8), (4, 16), (8, 64)]


def test_a_session_records_so_many_graphs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch_graphs, "MOST", 2)
    ran: list[tuple[int, ...]] = []

    def run(arrays: Sequence[Array]) -> list[Any]:
        ran.append(arrays[0].shape)
        return [torch.from_numpy(arrays[0])]

    graphs = Graphs(lambda arrays: run, run, longest=64, ragged=[True])
    for tokens in (5, 9, 17, 12):
        graphs.run([np.ones((3, tokens), np.float32)])
    assert ran == [(4, 8), (4, 16), (3, 17), (4, 16)]


@pytest.mark.skipif(machine.gpu_missing() is None, reason="here is a GPU")
def test_graphs_without_a_gpu_are_refused(tmp_path: Path) -> None:
    engine = Torch(cuda_graphs=True)
    assert "cuda_graphs is on, and there is no NVIDIA driver" in str(engine.available())
    with pytest.raises(Unavailable, match="cuda_graphs is on"):
        engine.open(tmp_path / "model.pt2", threads=1)


@pytest.mark.skipif(machine.gpu_missing() is not None, reason=str(machine.gpu_missing()))
def test_graphs_on_a_gpu_answer_as_a_plain_session_does(tiny_release: Path, tmp_path: Path) -> None:
    built = Torch().build(Exported(tiny_release, [], 64), tmp_path, "fp32")
    plain, graphs = Torch().open(built, threads=1), Torch(cuda_graphs=True).open(built, threads=1)
    for rows, tokens in ((1, 5), (3, 12), (4, 16), (1, 7)):
        ids = np.arange(5, 5 + rows * tokens).reshape(rows, tokens) % 40
        asked = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        np.testing.assert_allclose(graphs.run(asked)["logits"], plain.run(asked)["logits"], atol=1e-4)

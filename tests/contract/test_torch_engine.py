"""What is special about the engine that torch compiles; the rest is in the contract of engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from perennial.engines.torch import Torch, _program
from perennial.errors import Broken
from perennial.types import Exported


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
    half, full = (traced[name].module()(ids, torch.ones_like(ids)) for name in ("bf16", "fp32"))
    torch.testing.assert_close(half.float(), full, atol=0.02, rtol=0)


def test_a_library_for_another_processor_is_not_loaded(tmp_path: Path) -> None:
    from torch._inductor.package import package_aoti

    told = tmp_path / "model.wrapper_metadata.json"
    told.write_text(json.dumps({"processor": "avx2 avx9000", "inputs": "ids", "outputs": "logits"}))
    package_aoti(str(tmp_path / "model.pt2"), [str(told)])
    with pytest.raises(Broken, match=r"a processor with avx9000; build the release again"):
        Torch().open(tmp_path / "model.pt2", threads=1)

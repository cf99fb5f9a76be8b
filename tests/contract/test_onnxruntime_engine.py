"""What is special about onnxruntime on a GPU; the rest is in the contract of engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from perennial.engines._onnx_sessions import CUDA
from perennial.engines.onnxruntime import OnnxRuntime
from perennial.errors import Unavailable
from perennial.types import Exported

without_cuda = pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="it knows CUDA")


def test_on_a_gpu_the_file_is_in_fp16_and_triton_puts_it_there(tiny_release: Path, tmp_path: Path) -> None:
    engine = OnnxRuntime(device="cuda")
    assert engine.precisions() == ("fp16", "fp32")
    assert engine.triton("container", 2).gpu and not OnnxRuntime().triton("container", 2).gpu
    built = engine.build(Exported(tiny_release, [], 64), tmp_path, "fp16")
    ids = np.array([[2, 5, 6, 7, 9, 3]])
    asked = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    half, full = (OnnxRuntime().open(file, 1).run(asked) for file in (built, tiny_release / "model.onnx"))
    assert built.stat().st_size < 0.6 * (tiny_release / "model.onnx").stat().st_size
    np.testing.assert_allclose(half["logits"], full["logits"], atol=0.02)


@without_cuda
def test_an_onnxruntime_without_cuda_says_how_to_get_one(tiny_release: Path) -> None:
    engine = OnnxRuntime(device="cuda")
    for reason in (engine.available(), engine.runs_here()):
        assert reason is not None and reason.endswith("pip install 'onnxruntime-gpu[cuda,cudnn]'")
    with pytest.raises(Unavailable, match="does not open here: this onnxruntime knows no CUDA"):
        engine.open(tiny_release / "model.onnx", threads=1)

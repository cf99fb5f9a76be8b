"""Claims about how a session drives a runtime, on a stand-in for TensorRT and its GPU, which CI has not: the
plan is the ONNX file, onnxruntime computes, and device memory is the processor's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perennial.engines import _tensorrt
from perennial.errors import BadRequest, Broken
from perennial.types import Array

cuda = pytest.importorskip("polygraphy.cuda")

LONGEST = 12
MEMORY: dict[int, HostArray] = {}


class HostArray:
    """What the session uses of Polygraphy's `DeviceArray`; refuses what would be read past its end."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.ptr, self.dtype = id(self), dtype
        self.held = np.empty(0, dtype)
        MEMORY[self.ptr] = self

    def resize(self, shape: tuple[int, ...]) -> None:
        self.held = np.empty(shape, self.dtype)

    def copy_from(self, array: Array, stream: Any) -> None:
        assert (array.shape, array.dtype, array.flags.c_contiguous) == (self.held.shape, self.dtype, True)
        self.held[...] = array

    def copy_to(self, array: Array, stream: Any) -> None:
        assert (array.shape, array.dtype) == (self.held.shape, self.dtype)
        array[...] = self.held

    def free(self) -> None:
        del MEMORY[self.ptr]


class Engine:
    """Engine and context in one; it runs once every tensor has an address."""

    def __init__(self, plan: bytes) -> None:
        from onnxruntime import InferenceSession

        self._session = InferenceSession(plan)
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.num_io_tensors = 3

    def create_execution_context(self) -> Engine:
        return self

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, "logits"][index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self._inputs else "out"

    def get_tensor_dtype(self, name: str) -> type:
        return np.int64 if name in self._inputs else np.float32

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return shape[1] <= LONGEST

    def get_tensor_shape(self, name: str) -> list[int]:
        return [self._shapes["input_ids"][0], 3]

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        asked = {name: MEMORY[self._addresses[name]].held for name in self._inputs}
        MEMORY[self._addresses["logits"]].held[...] = self._session.run(None, asked)[0]
        return bool(stream)


class Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if plan.startswith(b"not"):
            self._logger.log("ERROR", "magic tag does not match")
            return None
        return Engine(plan)


LIBRARY = SimpleNamespace(
    Runtime=Runtime,
    ILogger=type("ILogger", (), {"INTERNAL_ERROR": "INTERNAL_ERROR", "ERROR": "ERROR"}),
    TensorIOMode=SimpleNamespace(OUTPUT="out"),
    nptype=lambda dtype: dtype,
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a plan on the stand-in."""
    from perennial.engines._tensorrt_session import PlanSession

    stream = SimpleNamespace(ptr=1, synchronize=lambda: None, free=lambda: None)
    monkeypatch.setattr(_tensorrt, "require_gpu", lambda: None)
    monkeypatch.setattr(cuda, "DeviceArray", HostArray)
    monkeypatch.setattr(cuda, "Stream", lambda: stream)
    return lambda plan: PlanSession(LIBRARY, plan)


def asked(rows: int, tokens: int) -> dict[str, Array]:
    ids = np.arange(5, 5 + rows * tokens, dtype=np.int64).reshape(tokens, rows).T % 40  # not contiguous
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_batches_of_any_shape_are_answered_and_memory_is_given_back(opened: Any, tiny_release: Path) -> None:
    from onnxruntime import InferenceSession

    network, session = InferenceSession(tiny_release / "model.onnx"), opened(tiny_release / "model.onnx")
    for rows, tokens in ((1, 4), (3, 12), (2, 5)):
        got, tensors = session.run(asked(rows, tokens)), asked(rows, tokens)
        assert list(got) == ["logits"]
        np.testing.assert_array_equal(got["logits"], network.run(None, tensors)[0])
    assert len(MEMORY) == 3
    session.close()
    assert not MEMORY


def test_a_batch_outside_of_the_profile_is_refused_and_the_next_one_answered(
    opened: Any, tiny_release: Path
) -> None:
    session = opened(tiny_release / "model.onnx")
    with pytest.raises(BadRequest, match=r"input_ids of shape \(1, 13\) is outside"):
        session.run(asked(1, LONGEST + 1))
    assert session.run(asked(1, LONGEST))["logits"].shape == (1, 3)
    session.close()


def test_a_file_that_is_no_plan_is_broken_for_the_reason_that_the_library_gives(
    opened: Any, tmp_path: Path
) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"not a plan")
    with pytest.raises(Broken, match="does not open: magic tag does not match; build the release again"):
        opened(plan)

"""The peaks of this machine's processor or GPU, measured on the spot: a large product, and a large copy.

What stands in data sheets is of other clocks and other neighbours. A peak is that of the quickest kernel that
torch, or onnxruntime for int8 on the processor, has for the format.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch

from perennial_perf.roofline import Chip

Device = Literal["gpu", "cpu"]

_WIDTH = {"gpu": 8192, "cpu": 1536}
_COPIED = {"gpu": 2**32, "cpu": 2**28}
"""Bytes: far more than any cache."""
_TRIES = 5


def measure(device: Device, formats: Iterable[str]) -> Chip:
    """Raises `KeyError` for a number format that no kernel is known for."""
    width = _WIDTH[device]
    peaks = {name: 2 * width**3 / _quickest(device, _PRODUCTS[device][name](width)) for name in formats}
    return Chip(peaks, 2 * _COPIED[device] / _quickest(device, _copy(device)))  # it reads and writes


def describe(device: Device) -> str:
    return str(torch.cuda.get_device_name()) if device == "gpu" else f"{torch.get_num_threads()} threads"


def _quickest(device: Device, run: Callable[[], object]) -> float:
    """Seconds of the quickest of some runs, after one that does not count."""
    took = []
    for _ in range(_TRIES + 1):
        began = time.perf_counter()
        run()
        if device == "gpu":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - began)
    return min(took[1:])


def _copy(device: Device) -> Callable[[], object]:
    source = torch.ones(_COPIED[device], dtype=torch.uint8, device=_place(device))
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _place(device: Device) -> str:
    return "cuda" if device == "gpu" else "cpu"


def _floats(kind: torch.dtype, place: str) -> Callable[[int], Callable[[], object]]:
    def make(width: int) -> Callable[[], object]:
        factor = torch.randn(width, width, device=place).to(kind)
        return lambda: factor @ factor

    return make


def _int8_on_gpu(width: int) -> Callable[[], object]:
    factor = torch.ones(width, width, dtype=torch.int8, device="cuda")
    return lambda: torch._int_mm(factor, factor.t())


def _fp8_on_gpu(width: int) -> Callable[[], object]:
    factor = torch.ones(width, width, device="cuda").to(torch.float8_e4m3fn)
    scale = torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(factor, factor.t(), scale, scale, out_dtype=torch.float16)


def _int8_on_cpu(width: int) -> Callable[[], object]:
    """torch has no quick one on processors without VNNI: 0.2 Gop/s beside 20 of fp32."""
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession

    asked = helper.make_tensor_value_info("a", TensorProto.UINT8, [width, width])
    given = helper.make_tensor_value_info("c", TensorProto.INT32, [width, width])
    weight = helper.make_tensor("b", TensorProto.INT8, [width, width], np.ones(width * width, np.int8))
    product = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    graph = helper.make_graph([product], "product", [asked], [given], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = np.ones((width, width), np.uint8)
    return lambda: session.run(None, {"a": rows})


_PRODUCTS: dict[str, dict[str, Callable[[int], Callable[[], Any]]]] = {
    "gpu": {
        "fp32": _floats(torch.float32, "cuda"),  # without TF32, as the engines compute it
        "fp16": _floats(torch.float16, "cuda"),
        "bf16": _floats(torch.bfloat16, "cuda"),
        "int8": _int8_on_gpu,
        "fp8": _fp8_on_gpu,
    },
    "cpu": {
        "fp32": _floats(torch.float32, "cpu"),
        "bf16": _floats(torch.bfloat16, "cpu"),
        "int8": _int8_on_cpu,
    },
}

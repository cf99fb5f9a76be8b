"""openvino on the processor: float32, bfloat16 where the processor has it, int8 by NNCF.

Knows how to build, open and configure an engine file. Leaves what flows through it to the task, and which
precision is good enough, or quick enough, to the gates and to whoever measures.
"""

from __future__ import annotations

import os
import threading
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from perennial.engines._building import require_known, whole
from perennial.errors import Broken
from perennial.quiet import quiet
from perennial.types import Array, BackendSpec, Exported, Runtime, Tensors

__all__ = ["OpenVino"]

FILENAME = "model.onnx"
PRECISION = "perennial.precision"
"""The property of the file by which a session knows in what the rest is computed."""
CALIBRATION_ROWS = 100
TOKENS_STEP = 16
"""With bfloat16's tiles a compiled shape is dear and padding is cheap: lengths in steps of 16 answered 144
texts a second where each its own answered 115 (MiniLM-L6, AMX). On AVX2 padding cost a third more."""


class OpenVino:
    """The file is ONNX for every precision: openvino and its Triton backend read it as it is.

    int8 is not accuracy-aware: NNCF 3.4's accuracy control breaks an ONNX graph. With no quantiser left, one
    still had nine multiplications too many (SmoothQuant's scales, it seems, and the weights of before them),
    and first logits of 2.93, -0.15, -0.55 had become 1.59, 0.25, 0.25; in int8 they were 2.76, -0.18, -0.24.
    """

    repeats = True
    writes = False

    def available(self) -> str | None:
        missing = [name for name in ("openvino", "nncf", "onnx") if find_spec(name) is None]
        return f"no {' and no '.join(missing)}: pip install 'perennial[train,openvino]'" if missing else None

    def runs_here(self) -> str | None:
        return None if find_spec("openvino") else "no openvino: pip install 'perennial[openvino]'"

    def precisions(self) -> tuple[str, ...]:
        return ("bf16", "int8", "fp32") if _has_bf16() else ("fp32", "int8")

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """`folder`/model.onnx; the same bytes for the same graph, samples, precision and package versions."""
        require_known(precision, self.precisions())
        import onnx

        graph = onnx.load(exported.graph)
        if precision == "int8":
            graph = _quantized(graph, exported.samples[:CALIBRATION_ROWS])
        onnx.helper.set_model_props(graph, {PRECISION: precision})
        with whole(folder / FILENAME) as part:
            onnx.save(graph, part)
        return folder / FILENAME

    def open(self, built: Path, threads: int) -> OpenVinoSession:
        return OpenVinoSession(built, threads)

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        if runtime == "embedded":  # its server has no C++ backends: our stage opens the file
            return BackendSpec("python", FILENAME)
        return BackendSpec("openvino", FILENAME, {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1"})


class OpenVinoSession:
    """Each thread that calls it has a request of its own, and as many run at once as there are cores for."""

    def __init__(self, built: Path, threads: int) -> None:
        import openvino

        streams = max(1, len(os.sched_getaffinity(0)) // threads)
        core = openvino.Core()
        try:
            model = core.read_model(str(built))
            wanted = "bf16" if _precision(model) == "bf16" else "f32"
            settings = {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads * streams,
                "INFERENCE_PRECISION_HINT": wanted,
                "ENABLE_CPU_PINNING": False,  # pinned threads would wait for their core, which others use too
            }
            self._compiled: Any = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise Broken(f"{built} does not open: {_last_line(error)}; build the release again") from error
        self._outputs = [(out.any_name, _is_ragged(out)) for out in self._compiled.outputs]
        self._step = TOKENS_STEP if wanted == "bf16" else 1
        self._own = threading.local()

    def run(self, tensors: Tensors) -> Tensors:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        tokens = max(array.shape[1] for array in tensors.values() if array.ndim > 1)
        padded = {name: _padded(array, self._step) for name, array in tensors.items()}
        results = self._own.request.infer(padded, share_inputs=True)
        return {
            name: results[place][:, :tokens] if ragged else results[place]
            for place, (name, ragged) in enumerate(self._outputs)
        }

    def close(self) -> None:
        del self._own, self._compiled


def _has_bf16() -> bool:
    if find_spec("openvino") is None:
        return False
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _precision(model: Any) -> str:
    known = model.get_rt_info()
    return known["framework"][PRECISION].astype(str) if "framework" in known else ""


def _is_ragged(output: Any) -> bool:
    shape = output.partial_shape
    return len(shape) > 1 and shape[1].is_dynamic


def _padded(array: Array, step: int) -> Array:
    """(rows, tokens, …) with tokens up to a multiple of `step`, by zeros, which the mask hides."""
    missing = -array.shape[1] % step if array.ndim > 1 else 0
    if not missing:
        return array
    return np.pad(array, [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)])


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]


def _quantized(graph: Any, samples: Any) -> Any:
    """Weights and activations to int8, whose ranges the samples give; without its statistics for others."""
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    with quiet("nncf"), redirect_stdout(StringIO()):  # its progress bars would stand in a command's JSON
        return nncf.quantize(
            graph,
            nncf.Dataset(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=max(1, len(samples)),
        )

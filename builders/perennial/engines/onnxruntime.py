"""onnxruntime on the processor: in float32, with int8 weights and activations quantised as they come, or with
both quantised beforehand, in ranges that real texts gave. On a GPU, where an option says so: fp16 or fp32.

Knows how to build, open and configure an engine file. Leaves what flows through it to the task, and which
precision is good enough to the gates.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from perennial.engines._building import Samples, require_known, whole
from perennial.engines._onnx_sessions import cuda_missing, open_file
from perennial.engines._typed import typed
from perennial.quiet import quiet
from perennial.types import BackendSpec, Exported, Runtime, Tensors

__all__ = ["OnnxRuntime"]

FILENAME = "model.onnx"
CALIBRATION_ROWS = 100


class OnnxRuntime:
    """Builds the graph as it was exported: a session makes its own fusions when it opens. Those that
    `onnxruntime.transformers` and onnxscript make beforehand found no attention in dynamo's graphs and saved
    no time; a hand-made MultiHeadAttention saved 6 to 10 %, at the price of a graph for this runtime alone.

    `device` is an option and not what is found, since a release opens on what it was built for. CUDA's graphs
    stay off: each holds one shape of batch, and texts have many.
    """

    repeats = True
    writes = False

    def __init__(self, device: Literal["cpu", "cuda"] = "cpu") -> None:
        self._cuda = device == "cuda"

    def available(self) -> str | None:
        missing = [name for name in ("onnxruntime", "onnx") if find_spec(name) is None]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[train]'"
        return cuda_missing() if self._cuda else None

    def runs_here(self) -> str | None:
        if find_spec("onnxruntime") is None:
            return "no onnxruntime: pip install 'perennial[onnxruntime]'"
        return cuda_missing() if self._cuda else None

    def precisions(self) -> tuple[str, ...]:
        if self._cuda:
            return ("fp16", "fp32")
        # Static ranges are the last resort: they were slower on AVX2, and changed 10 of 100 answers.
        return ("int8", "int8-mixed", "fp32", "int8-static")

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """`folder`/model.onnx; the same bytes for the same graph, precision and package versions."""
        require_known(precision, self.precisions())
        with whole(folder / FILENAME) as part:
            if precision in ("int8", "int8-mixed"):
                _quantize(exported.graph, part, mixed=precision == "int8-mixed")
            elif precision == "int8-static":
                _quantize_static(exported, part)
            elif precision == "fp16":
                part.write_bytes(typed(exported, precision))
            else:
                shutil.copyfile(exported.graph, part)
        return folder / FILENAME

    def open(self, built: Path, threads: int) -> OnnxSession:
        return OnnxSession(built, threads, self._cuda)

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        if runtime == "embedded":  # its server has no C++ backends: our stage opens the file
            return BackendSpec("python", FILENAME)
        counts = {"intra_op_thread_count": str(threads), "inter_op_thread_count": "1"}
        return BackendSpec("onnxruntime", FILENAME, counts, gpu=self._cuda)  # KIND_GPU is CUDA there


class OnnxSession:
    """Takes and gives numpy arrays: binding them beforehand saved nothing measurable."""

    def __init__(self, built: Path, threads: int, cuda: bool = False) -> None:
        self._session: Any = open_file(built, threads, cuda)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, tensors: Tensors) -> Tensors:
        return dict(zip(self._outputs, self._session.run(self._outputs, tensors), strict=True))

    def close(self) -> None:
        del self._session


def _quantize(onnx: Path, built: Path, *, mixed: bool) -> None:
    """Weights to int8, one scale an output channel; embeddings too, which make up most of the file.

    `mixed` leaves in float32 the products that read more numbers than they write: what a feed-forward block
    has between its two spans widest. Vectors of posts then had a cosine of .992 to float32's at least, and
    .986 where all was int8.
    """
    from onnx import load
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = load(onnx)
    del graph.graph.value_info[:]  # dynamo's own shapes make the quantiser's shape inference fail
    narrowing = _narrowing(graph.graph) if mixed else []
    with quiet():
        quantize_dynamic(
            graph, built, per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=narrowing
        )


def _narrowing(graph: Any) -> list[str]:
    """The products with weights that read more numbers than they write."""
    shapes = {weight.name: weight.dims for weight in graph.initializer if len(weight.dims) == 2}
    products = [(node.name, shapes.get(node.input[1])) for node in graph.node if node.op_type == "MatMul"]
    return [name for name, shape in products if shape and shape[0] > shape[1]]


def _quantize_static(exported: Exported, built: Path) -> None:
    """QDQ around the products of weights; the range of each activation is what it took on the samples."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with quiet():
        quantize_static(
            str(exported.graph),
            str(built),
            Samples(exported.samples[:CALIBRATION_ROWS]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=not _adds_wide(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def _adds_wide() -> bool:
    """Whether products of bytes are added in 32 bits; AVX2 adds them in 16, where 8-bit weights overflow."""
    return "vnni" in Path("/proc/cpuinfo").read_text()

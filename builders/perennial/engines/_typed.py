"""A graph in the numbers that a strongly typed engine computes in: such an engine takes each type from the
graph and chooses none itself.

Knows ONNX. Leaves what is compiled from it to the engine, and whether the answers are still the network's to
the parity gate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from perennial import machine
from perennial.engines._building import Samples, require_known
from perennial.errors import Broken, Unavailable
from perennial.quiet import quiet
from perennial.types import Exported

WEIGHTED = ("MatMul", "Gemm")
"""What is quantised: products with weights. Between activations int8 saves little and costs accuracy."""

CALIBRATED = ("int8", "fp8")
"""The precisions whose graphs depend on the samples as well."""

FP8_CAPABILITY = (8, 9)
"""Of the first GPUs that multiply in fp8."""


def precisions() -> tuple[str, ...]:
    """What `typed` makes for this machine, cheapest to serve first; bf16 is for networks that overflow in
    fp16, fp8 where nvidia-modelopt is installed and the GPU has it."""
    fp8 = find_spec("modelopt") is not None and machine.gpu_capability() >= FP8_CAPABILITY
    return tuple(name for name in _MAKERS if fp8 or name != "fp8")


def typed(exported: Exported, precision: str) -> bytes:
    """`exported.graph` as one self-contained ONNX file whose arithmetic is in `precision`.

    Inputs and outputs keep their types. The same bytes for the same graph and samples. Raises `ConfigError`
    for an unknown precision, `Broken` for a file that is no ONNX graph, `Unavailable` for fp8 without
    nvidia-modelopt.
    """
    require_known(precision, tuple(_MAKERS))
    with quiet():
        made = _MAKERS[precision](_load(exported.graph), exported)
    return bytes(made.SerializeToString(deterministic=True))


def _load(path: Path) -> Any:
    from onnx import load_from_string

    raw = path.read_bytes()
    try:
        model = load_from_string(raw)
    except Exception as error:  # protobuf's own, which is another room's
        raise Broken(f"{path} is no ONNX graph: {error}; export the network again") from error
    if not model.graph.node:
        raise Broken(f"{path} is an ONNX graph without a node; export the network again")
    del model.graph.value_info[:]  # types that no longer hold, and shapes that the quantiser trips over
    return model


def _fp32(model: Any, _: Exported) -> Any:
    return model


def _fp16(model: Any, _: Exported) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)


def _bf16(model: Any, exported: Exported) -> Any:
    """The graph in fp16, with every half float made a bfloat16: no converter makes it from float32."""
    from onnx import AttributeProto, TensorProto

    half = _fp16(model, exported)
    for weight in half.graph.initializer:
        _widen(weight)
    for node in half.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen(attribute.t)
            elif (node.op_type, attribute.name, attribute.i) == ("Cast", "to", TensorProto.FLOAT16):
                attribute.i = TensorProto.BFLOAT16
    return half


def _widen(tensor: Any) -> None:
    import ml_dtypes
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _fp8(model: Any, exported: Exported) -> Any:
    """The int8 graph with each scale and each type made that of fp8 (E4M3).

    nvidia-modelopt 0.47 is in no extra: it wants other versions of onnx and onnxruntime than ours, and works
    with ours.
    """
    try:
        from modelopt.onnx.quantization.fp8 import int8_to_fp8
    except ImportError as error:
        reason = str(error).partition("\n")[0]
        raise Unavailable(
            f"fp8 is nvidia-modelopt's work, and it is not whole ({reason}): "
            "pip install --no-deps nvidia-modelopt onnx-graphsurgeon lief onnxslim nvidia-ml-py"
        ) from None
    with quiet("modelopt.onnx"):
        return int8_to_fp8(_int8(model, exported, rounded=False))


def _int8(model: Any, exported: Exported, rounded: bool = True) -> Any:
    """Symmetric int8 in front of each product with weights, with a scale for each of their output channels;
    what lies between is in fp16. Scales come from the extremes that the samples reach. The weights are
    `rounded` in the file, or stand there as they were, to be rounded by the compiler.
    """
    from onnx import load
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    half = _fp16(model, exported)
    half.opset_import[0].version = max(19, half.opset_import[0].version)  # the first with scales in fp16
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        quantize_static(
            half,
            made,
            Samples(exported.samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(WEIGHTED),
            nodes_to_quantize=_products_with_weights(half),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": not rounded,
                "OpTypesToExcludeOutputQuantization": list(WEIGHTED),
            },
        )
        return load(made)


def _products_with_weights(model: Any) -> list[str]:
    weights = {weight.name for weight in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in WEIGHTED and node.input[1] in weights]


_MAKERS: Mapping[str, Callable[[Any, Exported], Any]] = {
    "int8": _int8,
    "fp8": _fp8,
    "fp16": _fp16,
    "bf16": _bf16,
    "fp32": _fp32,
}

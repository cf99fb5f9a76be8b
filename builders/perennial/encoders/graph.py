"""A network as a traced program and as an ONNX graph: free batch and length, one opset, checked before
anyone else reads them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import Dim

from perennial.encoders.network import Served
from perennial.encoders.windows import served
from perennial.errors import Broken
from perennial.quiet import quiet
from perennial.types import GRAPH, PROGRAM

OPSET = 18
"""The newest that every engine of Perennial and Triton's own onnxruntime read."""

_TEXTS = ["a text of a few words", "and another one, which has a few more words than the first"]
_TOLERANCE = 1e-3
_WAY_OUT = "build the service from another encoder, such as a BERT"


def export(model: Served, folder: Path) -> None:
    """Write `model` into `folder`: `input_ids`, `attention_mask` (batch, tokens) to its `outputs`.

    Whatever else the network wants, such as token types, is made inside the graph. Raises `Broken` where the
    trace is not the network's at other shapes than its own, or the graph is not what was asked for. That the
    file answers as the network does is for the parity gate to say.
    """
    plain = copy.deepcopy(model).eval()
    # Plain attention: scaled_dot_product_attention exports NaN guards that cost a tenth of the run time.
    plain.network.set_attn_implementation("eager")
    with quiet("torch.onnx"):
        program = _trace(plain)
        _compare(program, plain)
        torch.export.save(program.exported_program, folder / PROGRAM)
    graph = program.model_proto
    for node in graph.graph.node:  # they hold stack traces, which differ from one machine to the next
        del node.metadata_props[:]
    del graph.graph.value_info[:]
    _check(graph, model)
    onnx.save(graph, folder / GRAPH)


def _trace(model: Served) -> Any:
    free = {0: Dim("batch"), 1: Dim("tokens")}
    try:
        return torch.onnx.export(
            served(model),
            _tensors(model, _TEXTS),
            input_names=["input_ids", "attention_mask"],
            output_names=[*model.outputs],
            dynamic_shapes=(free, free),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        said = str(error).strip().splitlines()[0]
        raise Broken(f"a {type(model.network).__name__} does not export: {said}; {_WAY_OUT}") from error


def _compare(program: Any, model: Served) -> None:
    """Ask both in a shape that the trace never saw, with other padding, and one text alone."""
    traced, whole = program.exported_program.module(), served(model)
    for texts in ([*_TEXTS, "one more"], ["alone"], ["at length " * model.tokens.max_tokens]):
        asked = _tensors(model, texts)
        with torch.inference_mode():
            both = zip(_each(traced(*asked)), _each(whole(*asked)), strict=True)
            difference = max(float((ours - theirs).abs().max()) for ours, theirs in both)
        if not difference <= _TOLERANCE:
            shape = tuple(asked[0].shape)
            raise Broken(f"the exported network is off by {difference:.3g} at the shape {shape}; {_WAY_OUT}")


def _each(outputs: Any) -> Any:
    return (outputs,) if isinstance(outputs, torch.Tensor) else outputs


def _tensors(model: Served, texts: list[str]) -> tuple[torch.Tensor, ...]:
    tokens = model.tokens
    rows = tokens.encode(texts) if model.whole else tokens.placed(texts)
    return tuple(torch.from_numpy(array) for array in tokens.pad([row.ids for row in rows]))


def _check(graph: onnx.ModelProto, model: Served) -> None:
    onnx.checker.check_model(graph, full_check=True)
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    if opsets != {"": OPSET}:
        raise Broken(f"the exported graph uses opsets {opsets}, not {OPSET} alone; use the pinned torch")
    shapes = {value.name: _shape(value) for value in [*graph.graph.input, *graph.graph.output]}
    read: list[str | int] = ["batch"] if model.whole else ["batch", "tokens"]
    wanted = {
        "input_ids": ["batch", "tokens"],
        "attention_mask": ["batch", "tokens"],
        **{name: [*read, size] for name, size in model.outputs.items()},
    }
    if shapes != wanted:
        raise Broken(f"the exported graph has shapes {shapes}, not {wanted}; {_WAY_OUT}")


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]

"""A network as a traced program and as an ONNX graph: free batch and length, one opset, checked before
anyone else reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from perennial.errors import Broken
from perennial.quiet import quiet
from perennial.types import GRAPH, PROGRAM

OPSET = 18
"""The newest that every engine of Perennial and Triton's own onnxruntime read."""

Asked = tuple[Tensor, Tensor]
"""`input_ids` and `attention_mask`, each (batch, tokens)."""
_TOLERANCE = 1e-3
_WAY_OUT = "build the service from another encoder, such as a BERT"


def export(
    network: nn.Module, asked: Sequence[Asked], outputs: Mapping[str, int], of_tokens: bool, folder: Path
) -> None:
    """Write `network` into `folder`: `Asked` to its `outputs`, by name, each (batch, size), or (batch,
    tokens, size) where they are `of_tokens`.

    It is traced with the first of `asked`, and compared with the trace on the others, which should have other
    shapes. Raises `Broken` where the trace is not the network's there, or the graph is not what was asked
    for. That the file answers as the network does is for the parity gate to say.
    """
    traced, *others = asked
    with quiet("torch.onnx"):
        program = _trace(network, traced, outputs)
        _compare(program, network, others)
        torch.export.save(program.exported_program, folder / PROGRAM)
    graph = program.model_proto
    for node in graph.graph.node:  # they hold stack traces, which differ from one machine to the next
        del node.metadata_props[:]
    del graph.graph.value_info[:]
    read: list[str | int] = ["batch", "tokens"] if of_tokens else ["batch"]
    _check(graph, {name: [*read, size] for name, size in outputs.items()})
    onnx.save(graph, folder / GRAPH)


def _trace(network: nn.Module, asked: Asked, outputs: Mapping[str, int]) -> Any:
    free = {0: Dim("batch"), 1: Dim("tokens")}
    try:
        return torch.onnx.export(
            network,
            asked,
            input_names=["input_ids", "attention_mask"],
            output_names=[*outputs],
            dynamic_shapes=(free, free),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        said = str(error).strip().splitlines()[0]
        raise Broken(f"the network does not export: {said}; {_WAY_OUT}") from error


def _compare(program: Any, network: nn.Module, others: Sequence[Asked]) -> None:
    traced = program.exported_program.module()
    for asked in others:
        with torch.inference_mode():
            both = zip(_each(traced(*asked)), _each(network(*asked)), strict=True)
            difference = max(float((ours - theirs).abs().max()) for ours, theirs in both)
        if not difference <= _TOLERANCE:
            shape = tuple(asked[0].shape)
            raise Broken(f"the exported network is off by {difference:.3g} at the shape {shape}; {_WAY_OUT}")


def _each(outputs: Any) -> Any:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _check(graph: onnx.ModelProto, outputs: Mapping[str, list[str | int]]) -> None:
    onnx.checker.check_model(graph, full_check=True)
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    if opsets != {"": OPSET}:
        raise Broken(f"the exported graph uses opsets {opsets}, not {OPSET} alone; use the pinned torch")
    shapes = {value.name: _shape(value) for value in [*graph.graph.input, *graph.graph.output]}
    wanted = {"input_ids": ["batch", "tokens"], "attention_mask": ["batch", "tokens"], **outputs}
    if shapes != wanted:
        raise Broken(f"the exported graph has shapes {shapes}, not {wanted}; {_WAY_OUT}")


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]

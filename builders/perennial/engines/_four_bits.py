"""Weights of 4 bits, where each block of 32 has a scale and a least value of its own, as in GGUF's Q4_1: a
network that was kept so is the same again.

onnxruntime's product with such weights (`MatMulNBits`) knows a least value in whole steps alone, or is forty
times as slow. So here it knows none, and what that lacks is added: of each block the sum of what comes in,
times by how much its weights are too small. Embeddings and what makes logits of them have 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from perennial.types import Array

if TYPE_CHECKING:
    from onnx import NodeProto

BLOCK = 32
LOGITS = "logits"
"""What a graph that onnxruntime-genai's builder made gives."""
_OURS = {"domain": "com.microsoft", "block_size": BLOCK}


def in_four_bits(model: Any) -> None:
    """Rewrites a graph in float32 of that builder's."""
    graph = _Graph(model.graph)
    for node in model.graph.node:
        graph.add(node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.kept.values())


class _Graph:
    def __init__(self, graph: Any) -> None:
        self.nodes: list[NodeProto] = []
        self.kept = {one.name: one for one in graph.initializer}
        self._summed = set[str]()
        self._weights = self._taken([node.input[1] for node in graph.node if node.op_type == "MatMul"], 0)
        self._tables = self._taken([node.input[0] for node in graph.node if node.op_type == "Gather"], 1)

    def _taken(self, names: Collection[str], dimension: int) -> dict[str, Array]:
        """Of these those of which this dimension goes into blocks; they are not kept as they are."""
        from onnx.numpy_helper import to_array

        fitting = [
            name
            for name in {*names} & {*self.kept}
            if len(self.kept[name].dims) == 2 and self.kept[name].dims[dimension] % BLOCK == 0
        ]
        return {name: to_array(self.kept.pop(name)) for name in fitting}

    def add(self, node: NodeProto) -> None:
        if node.op_type == "Transpose" and node.input[0] in self._weights:
            self._tables[node.output[0]] = self._weights[node.input[0]].T  # the same as makes logits
        elif node.op_type == "Gather" and node.input[0] in self._tables:
            self._look_up(node, self._tables[node.input[0]])
        elif node.op_type != "MatMul" or node.input[1] not in self._weights:
            self.nodes.append(node)
        elif node.output[0] == LOGITS:
            self._multiply(node, 8, *_eight(_blocks(self._weights[node.input[1]].T)), LOGITS)
        else:
            self._multiply_by_four_bits(node)

    def _look_up(self, node: NodeProto, table: Array) -> None:
        numbers, scales = _eight(_blocks(table))
        taken = [self._keep(f"{node.name}.numbers", numbers.reshape(table.shape)), node.input[1]]
        scale = self._keep(f"{node.name}.scales", scales)
        how = {"gather_axis": 0, "quantize_axis": 1, "bits": 8, **_OURS}
        self._make("GatherBlockQuantized", [*taken, scale], node.output[0], **how)

    def _multiply_by_four_bits(self, node: NodeProto) -> None:
        numbers, scales, least = _four(_blocks(self._weights[node.input[1]].T))
        sums, product = self._sums(node.input[0], scales.shape[1]), f"{node.name}.product"
        self._multiply(node, 4, numbers, scales, product)
        lacking = self._keep(f"{node.name}.lacking", (least + 8 * scales).T)
        self._make("MatMul", [sums, lacking], f"{node.name}.rest")
        self._make("Add", [product, f"{node.name}.rest"], node.output[0])

    def _sums(self, of: str, blocks: int) -> str:
        """Of what comes in, block by block: made once for all that take it."""
        sums, ones = f"{of}.sums", f"blocks.{blocks}"
        if ones not in self.kept:
            each = np.ones((BLOCK, 1), np.float32)
            self._keep(ones, np.kron(np.eye(blocks, dtype=np.float32), each))
        if sums not in self._summed:
            self._make("MatMul", [of, ones], sums)
            self._summed.add(sums)
        return sums

    def _multiply(self, node: NodeProto, bits: int, numbers: Array, scales: Array, output: str) -> None:
        count, blocks = scales.shape
        taken = [self._keep(f"{node.name}.numbers", numbers), self._keep(f"{node.name}.scales", scales)]
        how = {"K": blocks * BLOCK, "N": count, "bits": bits, "accuracy_level": 4, **_OURS}
        self._make("MatMulNBits", [node.input[0], *taken], output, **how)

    def _make(self, kind: str, taken: list[str], output: str, **how: Any) -> None:
        from onnx.helper import make_node

        self.nodes.append(make_node(kind, taken, [output], name=f"{output}.{kind}", **how))

    def _keep(self, name: str, numbers: Array) -> str:
        from onnx.numpy_helper import from_array

        self.kept[name] = from_array(np.ascontiguousarray(numbers), name)
        return name


def _blocks(weights: Array) -> Array:
    """(outputs, inputs) as (outputs, blocks, BLOCK)."""
    return weights.reshape(len(weights), -1, BLOCK)


def _four(blocks: Array) -> tuple[Array, Array, Array]:
    """Two numbers from 0 to 15 in a byte; how much one is, and what 0 is, of each block."""
    least = blocks.min(axis=2)
    scales = (blocks.max(axis=2) - least) / 15
    scales[scales == 0] = 1
    numbers = np.rint((blocks - least[..., None]) / scales[..., None]).astype(np.uint8)
    return numbers[..., 0::2] | numbers[..., 1::2] << 4, scales, least


def _eight(blocks: Array) -> tuple[Array, Array]:
    """Numbers from 1 to 255, and how much one is; 0 is 128."""
    scales = np.abs(blocks).max(axis=2) / 127
    scales[scales == 0] = 1
    return (np.rint(blocks / scales[..., None]) + 128).astype(np.uint8), scales

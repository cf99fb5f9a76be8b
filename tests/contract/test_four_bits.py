"""Weights of 4 bits: what a block of them can tell is told, and a graph does what it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from perennial.engines._four_bits import BLOCK, in_four_bits
from perennial.types import Array

WORDS, SIZE, INNER = 50, 64, 96


def network(weights: dict[str, Array], *, tied: bool) -> Any:
    """Embeddings, two products one after the other and one beside the first, and logits."""
    node = helper.make_node
    table = [node("Transpose", ["head"], ["table"], perm=[1, 0])] if tied else []
    nodes = [
        node("Constant", [], ["one"], value_float=1.0),
        *table,
        node("Gather", ["table", "input_ids"], ["words"]),
        node("Mul", ["words", "one"], ["hidden"]),
        node("MatMul", ["hidden", "up"], ["first"], name="first"),
        node("MatMul", ["hidden", "gate"], ["beside"], name="beside"),
        node("Mul", ["first", "beside"], ["inner"]),
        node("MatMul", ["inner", "down"], ["second"], name="second"),
        node("MatMul", ["second", "odd"], ["third"], name="third"),
        node("MatMul", ["second", "head"], ["logits"], name="head"),
    ]
    kept = [numpy_helper.from_array(numbers.astype(np.float32), name) for name, numbers in weights.items()]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "tokens"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("logits", "third", "second", "words")
        ],
        kept,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def run(model: Any) -> list[Array]:
    ids = np.random.default_rng(1).integers(0, WORDS, (3, 7))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"input_ids": ids}))


def on_a_grid(random: Any, inputs: int, outputs: int, steps: int, middle: int) -> Array:
    """Each block has a scale and a least value of its own, and both ends of it are taken."""
    blocks = random.integers(0, steps, (outputs, inputs // BLOCK, BLOCK))
    blocks[..., :2] = 0, steps - 1
    shape = outputs, inputs // BLOCK, 1
    scales = random.uniform(0.01, 0.02, shape).astype(np.float16)
    least = np.zeros(shape) if middle else random.uniform(-0.2, 0.05, shape).astype(np.float16)
    return np.asarray(((blocks - middle) * scales + least).reshape(outputs, inputs).T)


@pytest.fixture
def weights() -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "up": on_a_grid(random, SIZE, INNER, 16, 0),
        "gate": on_a_grid(random, SIZE, INNER, 16, 0),
        "down": on_a_grid(random, INNER, SIZE, 16, 0),
        "odd": on_a_grid(random, SIZE, 1, 16, 0),
        "head": on_a_grid(random, SIZE, WORDS, 255, 127),
    }


def off_by(model: Any, exact: list[Array]) -> list[float]:
    return [
        float(np.abs(one - other).mean() / np.abs(other).mean())
        for one, other in zip(run(model), exact, strict=True)
    ]


@pytest.mark.parametrize("tied", [True, False])
def test_a_network_that_had_four_bits_is_the_same_again(weights: dict[str, Array], tied: bool) -> None:
    if not tied:
        weights["table"] = on_a_grid(np.random.default_rng(2), SIZE, WORDS, 255, 127).T
    model = network(weights, tied=tied)
    exact = run(model)
    in_four_bits(model)
    *products, words = off_by(model, exact)
    assert words < 1e-6 and max(products) < 0.03, "only what comes in is rounded, to 8 bits"
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("MatMulNBits"), kinds.count("GatherBlockQuantized")) == (5, 1)
    assert "Transpose" not in kinds
    assert kinds.count("MatMul") == 3 + 4, "the sums of what comes in are made once, what lacks four times"


def test_of_any_other_the_error_is_as_small_as_sixteen_steps_allow(weights: dict[str, Array]) -> None:
    random = np.random.default_rng(3)
    weights |= {name: random.normal(0.1, 0.2, weights[name].shape) for name in ("up", "gate", "down", "head")}
    model = network(weights, tied=True)
    exact = run(model)
    in_four_bits(model)
    assert 0.01 < max(off_by(model, exact)) < 0.15


def test_what_does_not_go_into_blocks_stays(weights: dict[str, Array]) -> None:
    random = np.random.default_rng(4)
    for name, shape in {
        "up": (40, INNER),
        "gate": (40, INNER),
        "down": (INNER, 40),
        "head": (40, WORDS),
    }.items():
        weights[name] = random.normal(size=shape)
    weights["odd"] = random.normal(size=(40, 1))
    model = network(weights, tied=True)
    exact = run(model)
    in_four_bits(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulNBits") == 1 and kinds.count("Transpose") == kinds.count("Gather") == 1
    assert off_by(model, exact)[-1] == 0.0

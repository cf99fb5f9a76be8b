"""Claims about which rows run together, and that each request gets its own rows back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.serve.batching import BUNCH, MASK, TOKENS, WASTE, Layout, pick
from perennial.types import Signature, Tensors, TensorSpec

WORKERS = st.integers(1, 8)
LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)
IDS, MASKS = TensorSpec("input_ids", "INT64", (-1,)), TensorSpec(MASK, "INT64", (-1,))
PER_ROW, PER_TOKEN = TensorSpec("total", "INT64", (1,)), TensorSpec("twice", "INT64", (-1,))
LAYOUT = Layout(Signature((), (IDS, MASKS), (), (PER_ROW, PER_TOKEN), ()))


def request(lengths: list[int]) -> Tensors:
    """Rows of these lengths, padded to the longest with a value that would show in every sum."""
    width = np.arange(max(lengths))
    mask = (width < np.array(lengths)[:, None]).astype(np.int64)
    numbers = np.arange(len(lengths))[:, None] + width + 1
    return {"input_ids": np.where(mask, numbers, -(10**6)), MASK: mask}


def engine(tensors: Tensors) -> Tensors:
    """An engine that minds the mask."""
    assert {array.shape for array in tensors.values()} == {tensors[MASK].shape}
    seen = tensors["input_ids"] * tensors[MASK]
    return {"total": seen.sum(axis=1, keepdims=True), "twice": 2 * seen}


@given(LENGTHS, WORKERS)
def test_the_row_that_waited_longest_is_among_those_that_run_next(lengths: list[int], workers: int) -> None:
    chosen = [index for run in pick(lengths, workers) for index in run]
    assert 0 in chosen
    assert len(set(chosen)) == len(chosen) and set(chosen) <= set(range(len(lengths)))


@given(LENGTHS, WORKERS)
def test_a_run_is_small_and_hardly_padded(lengths: list[int], workers: int) -> None:
    for run in pick(lengths, workers):
        rows = [lengths[index] for index in run]
        padded = max(rows) * len(rows)
        assert len(rows) == 1 or (padded <= TOKENS and sum(rows) >= (1 - WASTE) * padded)


@given(LENGTHS, WORKERS)
def test_a_worker_takes_its_share_at_most_and_what_it_answers_soon(lengths: list[int], workers: int) -> None:
    bunch = [lengths[index] for run in pick(lengths, workers) for index in run]
    assert len(bunch) <= -(-len(lengths) // workers)
    assert len(bunch) == 1 or sum(bunch) <= BUNCH


def test_rows_of_one_length_fill_runs_up_to_the_budget() -> None:
    assert [len(run) for run in pick([16] * 100, 1)] == [TOKENS // 16] * (BUNCH // TOKENS)


def test_a_row_beyond_the_budget_runs_alone() -> None:
    assert pick([10 * BUNCH, 10 * BUNCH], 1) == [[0]]


def test_two_workers_share_two_rows() -> None:
    assert pick([20, 20], 2) == [[0]]


@given(
    st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=5), min_size=1, max_size=8), st.integers(1, 3)
)
def test_every_request_gets_what_it_would_get_alone(sizes: list[list[int]], workers: int) -> None:
    requests = [request(lengths) for lengths in sizes]
    waiting = [(number, row) for number, asked in enumerate(requests) for row in LAYOUT.rows(asked)]
    results: list[dict[int, Tensors]] = [{} for _ in requests]
    while waiting:
        runs = [
            [waiting[index] for index in run] for run in pick([row.length for _, row in waiting], workers)
        ]
        for taken in runs:
            outputs = LAYOUT.split(engine(LAYOUT.stack([row for _, row in taken])), len(taken))
            for (number, row), output in zip(taken, outputs, strict=True):
                waiting.remove((number, row))
                results[number][row.place] = output
    for asked, rows in zip(requests, results, strict=True):
        joined = LAYOUT.join(asked, [rows[place] for place in range(len(rows))])
        for name, alone in engine(asked).items():
            np.testing.assert_array_equal(joined[name], alone)


@pytest.mark.parametrize("shape", [(2,), (-1,)])
def test_rows_without_a_mask_run_as_they_came(shape: tuple[int, ...]) -> None:
    layout = Layout(Signature((), (TensorSpec("features", "FP32", shape),), (), (), ()))
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = layout.rows({"features": features})
    np.testing.assert_array_equal(layout.stack(rows)["features"], features)

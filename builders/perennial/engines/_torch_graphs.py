"""Runs on a GPU as CUDA graphs: to launch a small network's kernels one by one takes longer than they do.

A graph is of one shape of batch, so batches are padded to few shapes: rows to a power of two, tokens to a
bucket. Knows shapes, in numpy, and how torch records; leaves what runs to its caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np

from perennial.shapes import buckets
from perennial.types import Array

MOST = 48
"""Graphs of a session, each with memory of its own: 1 to 64 rows of up to 256 tokens are 42."""

Run = Callable[[Sequence[Any]], Sequence[Any]]
"""From tensors on the GPU to tensors there, on the stream that is torch's current one."""
Replay = Callable[[Sequence[Array]], Sequence[Any]]


def bucket(rows: int, tokens: int, longest: int) -> tuple[int, int]:
    """The shape that a batch is padded to; no row becomes longer than the longest that the network takes."""
    fitting = [size for size in buckets(longest) if size >= tokens]
    return 1 << (rows - 1).bit_length(), min([*fitting, max(tokens, longest)])


def padded(array: Array, rows: int, tokens: int) -> Array:
    """(rows, tokens, …) of a smaller (rows, tokens, …), with zeros, which the mask hides."""
    sizes = (rows, tokens, *array.shape[2:])[: array.ndim]
    return np.pad(array, [(0, size - had) for size, had in zip(sizes, array.shape, strict=True)])


def record(run: Run, arrays: Sequence[Array]) -> Replay:
    """`run` at the shapes of `arrays` as one graph, by the steps of torch.cuda.graph's documentation.

    What a replay gives is overwritten by the next one. Other threads may use the GPU meanwhile.
    """
    import torch

    inputs = [torch.from_numpy(array).cuda() for array in arrays]
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run(inputs)  # what a first run allocates and chooses cannot be recorded
    stream.synchronize()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = run(inputs)

    def replay(arrays: Sequence[Array]) -> Sequence[Any]:
        for tensor, array in zip(inputs, arrays, strict=True):
            tensor.copy_(torch.from_numpy(array))
        graph.replay()
        return outputs

    return replay


class Graphs:
    """`recording` makes the graph of a shape when it is first met; past `MOST` of them no more is made, and
    `plain` runs a batch as it came. Of the outputs those that are `ragged` have a length, as the inputs have.
    Threads take turns, since a replay writes where the last one wrote.
    """

    def __init__(
        self,
        recording: Callable[[Sequence[Array]], Replay],
        plain: Replay,
        longest: int,
        ragged: Sequence[bool],
    ) -> None:
        self._recording = recording
        self._plain = plain
        self._longest = longest
        self._ragged = ragged
        self._replays: dict[tuple[int, int], Replay] = {}
        self._turn = Lock()

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs, in fp32, of a batch of (rows, tokens, …) arrays."""
        rows, tokens = len(arrays[0]), max(array.shape[1] for array in arrays if array.ndim > 1)
        with self._turn:
            given = self._replay(arrays, bucket(rows, tokens, self._longest))
            return [
                (tensor[:rows, :tokens] if ragged else tensor[:rows]).float().cpu().numpy()
                for tensor, ragged in zip(given, self._ragged, strict=True)
            ]

    def _replay(self, arrays: Sequence[Array], shape: tuple[int, int]) -> Sequence[Any]:
        if shape not in self._replays:
            if len(self._replays) == MOST:
                return self._plain(arrays)
            self._replays[shape] = self._recording([padded(array, *shape) for array in arrays])
        return self._replays[shape]([padded(array, *shape) for array in arrays])

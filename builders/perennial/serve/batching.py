"""Which waiting rows go through the engine together, and how they are laid out: hardly any padding.

On a CPU a row alone at its own length costs little more than in company (int8 MiniLM takes 3.7 ms for 32
tokens alone and 3.0 ms a row in a run of four), and padding is paid in full: so a run holds rows of about one
length. A hop of Triton costs the same for one answer and for several: so where many rows wait, a worker makes
a few runs before it answers. Pure: knows arrays, and neither threads nor requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perennial.types import Array, Signature, Tensors, TensorSpec

MASK = "attention_mask"
"""The engine input that is 0 past a row's end; an engine that has none gets its rows as long as they came."""
TOKENS = 256
"""The most tokens of a run of several rows, padding included."""
WASTE = 0.05
"""The largest share of padding in a run."""
BUNCH = 512
"""The most tokens of several rows that are answered together: some 60 ms of int8 MiniLM on one core."""


def pick(lengths: Sequence[int], workers: int) -> list[list[int]]:
    """The runs that one of `workers` makes next of the waiting rows, oldest first, before it answers them.

    They hold the row that has waited longest and others of about its length. No worker takes more than its
    share, so that none idles while rows wait for another.
    """
    share = -(-len(lengths) // workers)
    bunch, tokens = [0], lengths[0]
    for index in sorted(range(1, len(lengths)), key=lambda index: abs(lengths[index] - lengths[0])):
        if len(bunch) == share or tokens + lengths[index] > BUNCH:
            break
        bunch.append(index)
        tokens += lengths[index]
    return _runs(lengths, bunch)


def _runs(lengths: Sequence[int], bunch: list[int]) -> list[list[int]]:
    """The rows of a bunch in groups of about one length, the longest rows first."""
    runs: list[list[int]] = []
    used = 0  # the tokens of the last run, without padding
    for index in sorted(bunch, key=lambda index: -lengths[index]):
        padded = lengths[runs[-1][0]] * (len(runs[-1]) + 1) if runs else 0
        if runs and padded <= TOKENS and used + lengths[index] >= (1 - WASTE) * padded:
            runs[-1].append(index)
            used += lengths[index]
        else:
            runs.append([index])
            used = lengths[index]
    return runs


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a request's `engine_in` tensors, and its tokens without padding."""

    tensors: Tensors
    place: int
    length: int


class Layout:
    """Takes requests apart into rows and puts them together again, as an engine's signature says."""

    def __init__(self, signature: Signature) -> None:
        self._inputs = {spec.name: _is_ragged(spec) for spec in signature.engine_in}
        self._outputs = {spec.name: _is_ragged(spec) for spec in signature.engine_out}

    def rows(self, tensors: Tensors) -> list[Row]:
        """The rows of a request, whose tensors are (rows, tokens, …), padded to its own longest row."""
        if MASK in tensors:
            lengths = tensors[MASK].sum(axis=1).tolist()
        else:
            lengths = [self._width(tensors)] * len(next(iter(tensors.values())))
        return [Row(tensors, place, max(1, length)) for place, length in enumerate(lengths)]

    def stack(self, rows: Sequence[Row]) -> Tensors:
        """The rows of one run: (rows, tokens of the longest, …)."""
        width = max(row.length for row in rows)
        stacked = {}
        for name, ragged in self._inputs.items():
            parts = [row.tensors[name][row.place : row.place + 1] for row in rows]
            stacked[name] = np.concatenate([_fit(part, width) for part in parts] if ragged else parts)
        return stacked

    def split(self, outputs: Tensors, count: int) -> list[Tensors]:
        """The outputs of each of the `count` rows of a run."""
        return [{name: outputs[name][row : row + 1] for name in self._outputs} for row in range(count)]

    def join(self, tensors: Tensors, outputs: Sequence[Tensors]) -> Tensors:
        """A request's outputs, from those of its rows in order; per-token ones as wide as `tensors` came."""
        width = self._width(tensors)
        return {
            name: np.concatenate([_fit(row[name], width) if ragged else row[name] for row in outputs])
            for name, ragged in self._outputs.items()
        }

    def _width(self, tensors: Tensors) -> int:
        """The tokens that every row of a request is padded to; 1 where rows have no length."""
        return next((tensors[name].shape[1] for name, ragged in self._inputs.items() if ragged), 1)


def _is_ragged(spec: TensorSpec) -> bool:
    return spec.shape[:1] == (-1,)


def _fit(array: Array, width: int) -> Array:
    """(1, tokens, …) cut to `width` tokens, or filled up with zeros, which the mask hides."""
    if array.shape[1] >= width:
        return array[:, :width]
    fitted = np.zeros((1, width, *array.shape[2:]), array.dtype)
    fitted[:, : array.shape[1]] = array
    return fitted

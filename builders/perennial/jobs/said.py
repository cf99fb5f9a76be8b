"""What an engine said of the examples of a set, on disk: of whole texts as one array, of their tokens one
text after the other.

Knows arrays alone; examples and what holds a head in place are `live_head`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perennial.types import Array, Tensors

TOKENS = "tokens"
"""How many each text has, where some tensor has an axis for them; it then stands before all other axes."""


def write(path: Path, outputs: Sequence[Tensors]) -> None:
    """Of each text the tensors, of one row."""
    stacked = {}
    for name in outputs[0]:
        arrays = [tensors[name] for tensors in outputs]
        if len({array.shape for array in arrays}) > 1:
            stacked[TOKENS] = np.array([array.shape[1] for array in arrays])
            arrays = [array[0] for array in arrays]
        stacked[name] = np.concatenate(arrays)
    np.savez(path, **stacked)


def read(path: Path) -> list[Tensors]:
    """What `write` wrote: a request for each text, or, of texts without tokens, one for all."""
    with np.load(path) as stacked:
        found = dict(stacked)
    if TOKENS not in found:
        return [found]
    tokens = found.pop(TOKENS)
    parts = {name: _parts(array, tokens) for name, array in found.items()}
    return [{name: parts[name][place] for name in parts} for place in range(len(tokens))]


def count(path: Path) -> int:
    """Of how many texts it is."""
    return sum(len(next(iter(tensors.values()))) for tensors in read(path))


def keep(path: Path, kept: Sequence[int], target: Path) -> None:
    """Write to `target` what is there of these texts."""
    texts = [
        {name: array[row : row + 1] for name, array in tensors.items()}
        for tensors in read(path)
        for row in range(len(next(iter(tensors.values()))))
    ]
    if kept:
        write(target, [texts[place] for place in kept])
    else:
        np.savez(target, **{name: array[:0] for name, array in texts[0].items()})


def _parts(array: Array, tokens: Array) -> list[Array]:
    """(1, …) of each text."""
    if len(array) == len(tokens):
        return [array[place : place + 1] for place in range(len(array))]
    return [one[None] for one in np.split(array, np.cumsum(tokens)[:-1])]

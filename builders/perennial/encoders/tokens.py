"""Texts to token ids, the same way in training and in serving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from perennial.types import Array

# The engine owns the cores: a batch of 32 cost 48 µs a text on one thread, 90 µs on two that compete with it.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MAX_WINDOWS = 8
"""Of a text: some thousand words."""
OVERLAP = 64
"""Tokens that a window shares with the next one, where that is no more than a quarter of it: so each token
has half as many beside it, in one of both."""


class Placed(NamedTuple):
    """A text in windows, each of `max_tokens` but the last; their tokens know where in the text they stand.
    It was `cut` where it needs more than `MAX_WINDOWS`."""

    windows: Sequence[Any]
    cut: bool

    @property
    def ids(self) -> list[int]:
        """Of all windows, one after the other."""
        return [number for window in self.windows for number in window.ids]


class Tokens:
    """Cuts at `max_tokens`, special tokens included, and pads with `pad_id`."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, pad_id: int) -> None:
        self.max_tokens = max_tokens
        self.pad_id = pad_id
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens, stride=min(OVERLAP, max_tokens // 4))

    def encode(self, texts: list[str]) -> list[Any]:
        encodings: list[Any] = self._tokenizer.encode_batch_fast(texts)
        return encodings

    def placed(self, texts: list[str]) -> list[Placed]:
        found = []
        for encoding in self._tokenizer.encode_batch(texts):
            more = encoding.overflowing if len(encoding) == self.max_tokens else []
            found.append(Placed([encoding, *more[: MAX_WINDOWS - 1]], len(more) >= MAX_WINDOWS))
        return found

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
        return padded(rows, self.pad_id)

    def truncated(self, encodings: Sequence[Any]) -> Array:
        """Whether something was cut off: (texts, 1), bool."""
        # `overflowing` copies what was cut off: ask for it only where something may have been.
        cut = [len(encoding) == self.max_tokens and bool(encoding.overflowing) for encoding in encodings]
        return np.array(cut, dtype=np.bool_).reshape(-1, 1)


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Array, Array]:
    """Ids and mask, each (rows, tokens of the longest), int64."""
    shape = (len(rows), max(map(len, rows)))
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask

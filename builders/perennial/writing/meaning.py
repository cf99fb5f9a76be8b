"""What a text is about, by a language model's own word vectors: texts of like meaning have near vectors.

A mean of the vectors of its tokens, of which frequent ones count less (smooth inverse frequency: Arora,
Liang and Ma, ICLR 2017), without the directions that all of them share (Mu and Viswanath, ICLR 2018). How
frequent a token is, its place says: a vocabulary of BPE stands in the order in which pairs were most frequent
(and frequencies fall as Zipf has it).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from perennial.types import Array

MEANING = "meaning.npy"
SIZE, SHARED = 128, 8
RARE = 3e-5
"""The share of all text at which a token counts half."""


def word_vectors(embeddings: Array, special: Collection[int]) -> Array:
    """(vocabulary, up to `SIZE`), float16, as long as its token counts; nothing for `special` ones."""
    centred = embeddings.astype(np.float32) - embeddings.mean(0, dtype=np.float32)
    _, directions = np.linalg.eigh(centred.T @ centred)
    own = centred @ directions[:, ::-1][:, SHARED : SHARED + SIZE]
    places = np.arange(len(own))
    share = 1 / (places + 3)
    counts = RARE / (RARE + share / share.sum())
    counts[[*special]] = 0.0
    unit = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-6)
    words: Array = (unit * counts[:, None]).astype(np.float16)
    return words


class Meaning:
    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._words = np.load(folder / MEANING, mmap_mode="r")
        self._tokenizer = tokenizer

    def of(self, text: str) -> Array:
        """(size,), of length 1, or all zeros where nothing is said."""
        ids = self._tokenizer.encode(text.lower(), add_special_tokens=False).ids
        mean: Array = self._words[ids].sum(0, dtype=np.float32)
        return mean / max(float(np.linalg.norm(mean)), 1e-6)

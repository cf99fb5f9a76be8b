"""The words of a text as its tokens have them: a word's class is told by its first token."""

from __future__ import annotations

from typing import Any

import numpy as np

from perennial.types import Array

NO_WORD = -1


def words(encoding: Any) -> Array:
    """(tokens, 2), int32: from start to end, in characters, of the word that a token begins; `NO_WORD` twice
    for any other token."""
    found = np.full((len(encoding), 2), NO_WORD, np.int32)
    first: dict[int, int] = {}
    for token, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is not None:
            at = first.setdefault(word, token)
            if at == token:
                found[token] = start, end
            found[at, 1] = end
    return found


def begin(found: Array) -> Array:
    """(…, tokens) of bool: which tokens begin a word, of `words` (…, tokens, 2)."""
    return np.asarray(found[..., 0] != NO_WORD)

"""The words of a text as its tokens have them: a word's class is told by its first token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perennial.types import Array

NO_WORD = -1
_MUCH = 1 << 30


def words(windows: Sequence[Any]) -> Array:
    """(tokens of all windows, 2), int32: from start to end, in characters, of the word that a token begins;
    `NO_WORD` twice for any other token. A word that begins in two windows is told where it stands further
    from the edge that both share."""
    found = np.full((sum(map(len, windows)), 2), NO_WORD, np.int32)
    begins: dict[int, tuple[int, int, int]] = {}  # of a word its room, its first token and where that starts
    ends: dict[int, int] = {}
    before = 0
    for number, window in enumerate(windows):
        left, right = number > 0, number < len(windows) - 1
        seen: set[int] = set()
        for token, (word, (start, end)) in enumerate(zip(window.word_ids, window.offsets, strict=True)):
            if word is None:
                continue
            ends[word] = max(end, ends.get(word, 0))
            if word not in seen:
                seen.add(word)
                room = min(token if left else _MUCH, len(window) - 1 - token if right else _MUCH)
                if word not in begins or room > begins[word][0]:
                    begins[word] = room, before + token, start
        before += len(window)
    for word, (_, token, start) in begins.items():
        found[token] = start, ends[word]
    return found


def begin(found: Array) -> Array:
    """(…, tokens) of bool: which tokens begin a word, of `words` (…, tokens, 2)."""
    return np.asarray(found[..., 0] != NO_WORD)

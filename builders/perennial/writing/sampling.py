"""Chooses the next token of a text from what the network says of all tokens.

The order of the steps is transformers': repetition penalty, temperature, top-k, top-p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.types import Array
from perennial.writing.grammar import Grammar
from perennial.writing.request import Options

_MOST_CANDIDATES = 1024
"""Of so many of the likeliest tokens the nucleus is sought: to sort a vocabulary of 50,000 for each token
took longer than a step of a small network."""


class Sampler:
    """Of one text: the same seed and the same logits choose the same tokens, whoever is written beside it."""

    def __init__(self, how: Options, grammar: Grammar | None = None) -> None:
        self._how, self._grammar = how, grammar
        self._random = np.random.default_rng(how.seed)

    def choose(self, logits: Array, written: Sequence[int]) -> int:
        """A token's number, of `logits` (vocabulary,) and of the tokens that stand in the text so far."""
        if self._grammar is None:
            return self._chosen(logits, written)
        token = self._chosen(self._grammar.left(logits), written)
        self._grammar.take(token)
        return token

    def _chosen(self, logits: Array, written: Sequence[int]) -> int:
        how = self._how
        if how.repetition_penalty != 1.0 and written:
            logits = _penalised(logits, np.unique(np.asarray(written)), how.repetition_penalty)
        if how.temperature == 0.0:
            return int(logits.argmax())
        tokens, shares = self._candidates(logits.astype(np.float64) / how.temperature)
        return int(tokens[np.searchsorted(np.cumsum(shares), self._random.random() * shares.sum())])

    def _candidates(self, logits: Array) -> tuple[Array, Array]:
        """Tokens, likeliest first, with their probabilities among all tokens that `top_k` leaves."""
        count = min(len(logits), self._how.top_k or len(logits))
        if self._how.top_p < 1.0:
            count = min(count, _MOST_CANDIDATES)
        if count < len(logits):
            tokens = np.argpartition(-logits, count - 1)[:count]
        else:
            tokens = np.arange(len(logits))
        tokens = tokens[np.argsort(-logits[tokens], kind="stable")]
        among = logits[tokens] if self._how.top_k else logits
        shares = np.exp(logits[tokens] - logits.max()) / np.exp(among - logits.max()).sum()
        if self._how.top_p < 1.0:
            kept = int(np.searchsorted(np.cumsum(shares), self._how.top_p)) + 1
            tokens, shares = tokens[:kept], shares[:kept]
        return tokens, shares


def log_share(logits: Array, token: int) -> float:
    """The logarithm of the token's probability."""
    top = logits.max()
    return float(logits[token] - top - np.log(np.exp(logits - top).sum()))


def _penalised(logits: Array, tokens: Array, penalty: float) -> Array:
    changed = logits.copy()
    seen = changed[tokens]
    changed[tokens] = np.where(seen > 0, seen / penalty, seen * penalty)
    return changed

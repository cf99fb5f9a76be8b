"""Keeps a text to a JSON schema: of the tokens that may come next only those are left with which it still can
be met. What those are is llguidance's to say."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from perennial.errors import BadRequest, Broken
from perennial.types import Array

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_FORM: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As `json.dumps` writes: of white space that may be anywhere a small model writes no end."""


def grammar_of(schema: str) -> str:
    """Of a JSON schema, in llguidance's words. Raises `BadRequest` for one that nothing can be kept to."""
    try:
        grammar = LLMatcher.grammar_from_json_schema(json.loads(schema), overrides=_FORM)
        error = LLMatcher.validate_grammar(grammar)
    except ValueError as wrong:
        error = str(wrong)
    if error:
        raise BadRequest(
            f"schema {schema[:80]!r} cannot be kept to: {' '.join(error.split())[:200]}; mend it"
        )
    return grammar


class Grammar:
    """Of one text that is being written."""

    def __init__(self, tokens: LLTokenizer, schema: str) -> None:
        self._matcher = LLMatcher(tokens, grammar_of(schema))

    def left(self, logits: Array) -> Array:
        """The same (vocabulary,), but for minus infinity at the tokens that may not come next."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        fits = np.zeros(len(logits), bool)
        fits[: len(bits)] = bits[: len(logits)]
        return np.where(fits, logits, -np.inf)

    def take(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise Broken(self._matcher.get_error())


class Grammars:
    """In the tokens of one tokenizer, which is given as its library writes it; `ends` end a text."""

    def __init__(self, tokenizer: str, ends: Collection[int]) -> None:
        self._tokenizer, self._ends = tokenizer, sorted(ends)

    def __call__(self, schema: str) -> Grammar | None:
        """None where anything may be written."""
        return Grammar(self._tokens, schema) if schema else None

    @cached_property
    def _tokens(self) -> LLTokenizer:  # of 50,000 tokens it takes a fifth of a second
        return LLTokenizer(self._tokenizer, eos_token=self._ends)

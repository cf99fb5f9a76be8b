"""Corrections as examples: what people wanted as answers to prompts that are like one that is asked now.

Retrieved by likeness and shown in context (Liu et al., "What makes good in-context examples for GPT-3?",
DeeLIO 2022).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.errors import BadRequest
from perennial.types import Array, FeedbackRow
from perennial.writing.request import Request
from perennial.writing.wanted import Wanted

NEAR = 0.6
"""The cosine from which on a prompt is like another: of ten rephrased questions eight have more, and three of
fifteen about something else (SmolLM2); with .7 four in ten rephrased entries of a log were found."""
MOST, LONGEST, AT_ONCE = 1000, 192, 2
"""How many are kept, the newest; how many tokens one may have; and how many are shown."""
LEAST_TRUST = 0.5
"""Of a row that may be one: as far as feedback without a proven prediction id is trusted unless set."""


@dataclass(frozen=True)
class Shown:
    """What somebody `asked` and `wanted`, and the receipt of the feedback that says so."""

    receipt: str
    asked: str
    wanted: str


class Examples:
    """May be given more, and asked, from any thread."""

    def __init__(self, meaning: Callable[[str], Array], tokens: Callable[[str], int]) -> None:
        self._meaning, self._tokens = meaning, tokens
        self._kept = OrderedDict[str, tuple[Shown, Array]]()
        """By what was asked: what somebody wanted last."""
        self._found: tuple[list[Shown], Array] = [], np.zeros((0, 0))
        """The same in rows, made when it changes: it is asked more often."""
        self._turn = threading.Lock()

    def take(self, rows: Sequence[FeedbackRow]) -> None:
        for row in rows:
            shown = _shown(row)
            if shown is None or self._tokens(shown.asked) + self._tokens(shown.wanted) > LONGEST:
                continue
            vector = self._meaning(shown.asked)
            with self._turn:
                self._kept[shown.asked] = shown, vector
                self._kept.move_to_end(shown.asked)
                if len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        with self._turn:
            self._stack()

    def forget(self) -> None:
        with self._turn:
            self._kept.clear()
            self._stack()

    def near(self, asked: str) -> list[Shown]:
        """Those to be shown, the nearest last."""
        shown, vectors = self._found
        if not shown:
            return []
        likeness = vectors @ self._meaning(asked)
        best = np.argsort(likeness)[-AT_ONCE:]
        return [shown[place] for place in best if likeness[place] >= NEAR]

    def _stack(self) -> None:
        kept = [*self._kept.values()]
        vectors = np.stack([vector for _, vector in kept]) if kept else np.zeros((0, 0))
        self._found = [shown for shown, _ in kept], vectors


def _shown(row: FeedbackRow) -> Shown | None:
    """None of a row that is no example: nothing is wanted, or no user speaks last."""
    try:
        asked, wanted = Request.read(row.text).question, Wanted.read(row.label).wanted
    except BadRequest:  # of a service that generated something else before
        return None
    if asked is None or wanted is None or row.trust < LEAST_TRUST:
        return None
    return Shown(row.receipt, asked, wanted)

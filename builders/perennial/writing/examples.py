"""Corrections as examples: what people wanted as answers to prompts that are like one that is asked now.

Retrieved by likeness and shown in context (Liu et al., "What makes good in-context examples for GPT-3?",
DeeLIO 2022).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

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
ROUNDED = 1e-5
"""By so much two vectors of one text may differ."""
LEAST_TRUST = 0.5
"""Of a row that may be one: as far as feedback without a proven prediction id is trusted unless set."""

T = TypeVar("T")


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
        self._known = OrderedDict[str, Array]()
        """By what was asked: of what the network has learned itself."""
        self._found: tuple[list[Shown], Array, Array] = [], np.zeros((0, 0)), np.zeros((0, 0))
        """Both in rows, made when they change: they are asked more often."""
        self._turn = threading.Lock()

    def take(self, rows: Sequence[FeedbackRow], learned: Sequence[FeedbackRow] = ()) -> None:
        """`learned` are not to be shown, and keep others from it (see `near`)."""
        made = [(shown, self._meaning(shown.asked)) for shown in self._examples(rows)]
        known = {shown.asked: self._meaning(shown.asked) for shown in self._examples(learned)}
        with self._turn:
            for shown, vector in made:
                _put(self._kept, shown.asked, (shown, vector))
            for asked, vector in known.items():
                _put(self._known, asked, vector)
            self._stack()

    def forget(self) -> None:
        with self._turn:
            self._kept.clear()
            self._known.clear()
            self._stack()

    def near(self, asked: str) -> list[Shown]:
        """Those to be shown, the nearest last. None that is less like what is asked than something that the
        network has learned: told of others beside, a small model answers worse than by itself."""
        shown, vectors, known = self._found
        if not shown:
            return []
        meaning = self._meaning(asked)
        least = max(NEAR, float((known @ meaning).max()) - ROUNDED) if len(known) else NEAR
        likeness = vectors @ meaning
        best = np.argsort(likeness)[-AT_ONCE:]
        return [shown[place] for place in best if likeness[place] >= least]

    def _examples(self, rows: Sequence[FeedbackRow]) -> list[Shown]:
        """Those of the newest rows: of older ones none would be kept."""
        newest = filter(None, map(_shown, reversed(rows)))
        short = (one for one in newest if self._tokens(one.asked) + self._tokens(one.wanted) <= LONGEST)
        return [*islice(short, MOST)][::-1]

    def _stack(self) -> None:
        kept = [*self._kept.values()]
        vectors = np.stack([vector for _, vector in kept]) if kept else np.zeros((0, 0))
        known = np.stack([*self._known.values()]) if self._known else np.zeros((0, 0))
        self._found = [shown for shown, _ in kept], vectors, known


def _put(kept: OrderedDict[str, T], asked: str, value: T) -> None:
    """As the newest of `MOST`."""
    kept[asked] = value
    kept.move_to_end(asked)
    if len(kept) > MOST:
        kept.popitem(last=False)


def _shown(row: FeedbackRow) -> Shown | None:
    """None of a row that is no example: nothing is wanted, or no user speaks last."""
    try:
        asked, wanted = Request.read(row.text).question, Wanted.read(row.label).wanted
    except BadRequest:  # of a service that generated something else before
        return None
    if asked is None or wanted is None or row.trust < LEAST_TRUST:
        return None
    return Shown(row.receipt, asked, wanted)

"""The head of one release as feedback moves it: its rows, and how far the golden set lets it go.

Knows examples and evidence. Leaves asking the engine, and where rows and heads are kept, to `learn`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial.heads import Evidence, Solution, Statistics, joined, trusted
from perennial.jobs import data, said
from perennial.jobs.votes import source_of
from perennial.jobs.workshop import Workshop, codec_of
from perennial.plugins import labels_of
from perennial.split import fingerprint
from perennial.task_protocol import Codec
from perennial.types import Array, Bundle, Example, FeedbackRow, HeadRow, Tensors

HOLDS = (1, 2, 4, 8, 16, 32, 64)
"""How often a taught row may count. After 1,000 ratings of tweets 32 cost films 2.0 points of accuracy, where
half of the head would have cost 2.7, and was better on tweets (macro-F1 .64 for .63)."""
ANCHORS, JUDGES = "memory", "golden"
"""The sets of a bundle that hold a head in place, and that say how far it may go."""
WATCHERS = "validation"
"""The set that said when to stop training: like the one that judges, the release did not learn it."""


@dataclass(frozen=True)
class Wish:
    """How a head is made: as in `heads.Statistics.solve`, with the codec's own balance for None; `margin`
    is how much of the golden set's accuracy and macro-F1 it may cost, `trust` what a source's rows count, 1
    where it names none."""

    ridge: float
    balance: float | None
    margin: float
    trust: Mapping[str, float]


@dataclass(frozen=True)
class Judged:
    """`weights` (features + 1, outputs), and the figures that they were judged by."""

    weights: Array
    figures: Mapping[str, Any]


_Told = tuple[FeedbackRow, Evidence]
_Of = tuple[bytes, str, tuple[str, ...]]
"""The text, the source, and the things in the text that it spoke of."""


class LiveHead:
    def __init__(self, bundle: Bundle, wish: Wish) -> None:
        self.bundle = bundle
        self._wish = wish
        self._labels = labels_of(bundle.manifest["task"])
        self.codec: Codec = codec_of(bundle.manifest["task"], bundle.folder)
        self._balance = self.codec.balance if wish.balance is None else wish.balance
        self.taught = _set(bundle, ANCHORS)
        self.anchors = self.codec.evidence(_seen(bundle, ANCHORS), self.taught)
        self._judges = _set(bundle, JUDGES)
        self._judges_seen = _seen(bundle, JUDGES) if self._judges else []
        self.standing = {row.row for row in (*self._judges, *_set(bundle, WATCHERS)) if row.row}
        self._judging = {fingerprint(example.text) for example in self._judges}
        self._held, self._told = self._empty(), self._empty()
        self._held.add(self.anchors.held())
        self._known_judges = self._empty()
        self._latest: dict[_Of, _Told] = {}
        self._before = self._score(None)

    @property
    def rows(self) -> list[FeedbackRow]:
        return [row for row, _ in self._latest.values()]

    @property
    def evidence(self) -> Evidence:
        """Of the pieces of `rows`, in their order."""
        return joined([self.anchors.at([]), *(seen for _, seen in self._latest.values())])

    def pieces(self) -> list[int]:
        """How many each of `rows` tells of, and then each of the taught rows."""
        told = [len(seen) for _, seen in self._latest.values()]
        return [*told, *(len(self.codec.columns(example)) for example in self.taught)]

    def described(
        self, rows: Sequence[FeedbackRow], outputs: Sequence[Tensors], weights: Array | None
    ) -> list[HeadRow]:
        """What is to be kept of rows, from the release's `engine_out` and `carried` tensors for their texts,
        and from the head in force, which has not learned them."""
        examples = [Example(row.text, row.label, row.trust) for row in rows]
        told = [self.codec.evidence([output], [one]) for output, one in zip(outputs, examples, strict=True)]
        self.codec.take_head(weights)
        answers = self.codec.decode([{}] * len(rows), outputs)
        right = self.codec.score(answers, examples).correct
        return [
            HeadRow(row.row, pieces.features.tobytes(), pieces.residuals.tobytes(), bool(correct == 1))
            for row, pieces, correct in zip(rows, told, right, strict=True)
        ]

    def take(self, rows: Sequence[FeedbackRow], described: Sequence[HeadRow]) -> None:
        """Learn rows. Of what a source says of a text, or of the same things in it, its latest row counts, in
        whatever order they come."""
        new, gone = list[_Told](), list[_Told]()
        for row, kept in zip(rows, described, strict=True):
            said_of = (fingerprint(row.text), source_of(row), tuple(self._labels.parts(row.label)))
            former = self._latest.get(said_of)
            if former and former[0].row >= row.row:
                continue
            if former:
                gone.append(former)
            self._latest[said_of] = (row, self._evidence(row, kept))
            new.append(self._latest[said_of])
        self._change(Statistics.add, new)
        self._change(Statistics.remove, gone)

    def solve(self) -> Solution:
        """The head of all rows, as it is in force."""
        return self._solved(self._told, self._hold()[0])

    def blind(self, texts: Iterable[str]) -> Array:
        """The weights in force, had no row told of any of these texts."""
        hidden = {fingerprint(text) for text in texts}
        hold, _ = self._hold()
        told = self._empty()
        for (text, *_), (_row, seen) in self._latest.items():
            if text in hidden:
                told.add(seen)
        return self._solved(self._told.without(told), hold).weights

    def judged(self) -> Judged:
        """The head, with the taught rows counting as often as the golden set needs to lose no more than the
        margin (of `HOLDS` the least, by bisection); none where none is enough."""
        hold, after = self._hold()
        figures = {
            "rows": len(self._latest),
            "newest_row": max((row.row for row in self.rows), default=0),
            "hold": hold if math.isfinite(hold) else None,
            "golden": {"before": self._before, "after": after} if self._judges else None,
        }
        return Judged(self._solved(self._told, hold).weights.astype(np.float32), figures)

    def _hold(self) -> tuple[float, dict[str, float]]:
        """How often taught rows count, and what a head that saw no golden text then scores on them."""
        blind = self._told.without(self._known_judges)
        found, low, high = (math.inf, self._before), 0, len(HOLDS)
        place = 0  # nearly always enough
        while low < high:
            after = self._score(self._solved(blind, HOLDS[place]).weights)
            if all(after[name] >= value - self._wish.margin for name, value in self._before.items()):
                found, high = (HOLDS[place], after), place
            else:
                low = place + 1
            place = (low + high) // 2
        return found

    def _solved(self, told: Statistics, hold: float) -> Solution:
        if hold == math.inf:  # nothing may move
            told, hold = self._empty(), 1
        return told.solve(self._wish.ridge, self._balance, self._held, hold)

    def _change(self, how: Callable[[Statistics, Evidence], None], told: Sequence[_Told]) -> None:
        judging = [seen for row, seen in told if fingerprint(row.text) in self._judging]
        for statistics, some in ((self._told, [seen for _, seen in told]), (self._known_judges, judging)):
            if some:
                how(statistics, joined(some))

    def _evidence(self, row: FeedbackRow, kept: HeadRow) -> Evidence:
        columns = self.codec.columns(Example(row.text, row.label))
        trust = row.trust * self._wish.trust.get(row.source, 1.0)
        return Evidence(
            np.frombuffer(kept.features, np.int16).reshape(len(columns), self.codec.feature_size),
            np.frombuffer(kept.residuals, np.int16).reshape(len(columns), self.codec.outputs),
            columns,
            trusted(np.full(len(columns), trust)),
        )

    def _empty(self) -> Statistics:
        return Statistics(self.codec.feature_size, len(self.codec.classes), self.codec.outputs)

    def _score(self, weights: Array | None) -> dict[str, float]:
        """Accuracy and macro-F1 on the golden set with this head; nothing, where a given model has none: then
        the made-up texts and the ridge alone hold it."""
        if not self._judges:
            return {}
        self.codec.take_head(weights)
        answers = self.codec.decode([{}] * len(self._judges_seen), self._judges_seen)
        return {
            name: round(value, 4) for name, value in self.codec.score(answers, self._judges).metrics.items()
        }


def in_force(shop: Workshop, bundle: Bundle, codec: Codec) -> Array | None:
    """The weights that a release answers with now; None where it answers alone."""
    known = shop.store.head(bundle.service, bundle.release)
    if known is None:
        return None
    return np.frombuffer(known.weights, np.float32).reshape(-1, codec.outputs)


def has_head(bundle: Bundle) -> bool:
    """A release of an older version has none, nor has one whose engine gives no features."""
    return (bundle.folder / f"data/{ANCHORS}.npz").is_file()


def _seen(bundle: Bundle, name: str) -> list[Tensors]:
    return said.read(bundle.folder / f"data/{name}.npz")


def _set(bundle: Bundle, name: str) -> list[Example]:
    return data.read(bundle.folder / f"data/{name}.jsonl")

"""What `recommend` says on the wire: a user and what he took last to numbers, a vector to the items that he
may want next.

Knows the items of one release, and who clicked what since. Leaves the network to the engine, and batching
across requests and prediction ids to the stages.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from threading import Lock

import numpy as np

from perennial.encoders.asked import check_number, check_text
from perennial.ranking.codec import MOST, RankingCodec, asked_top
from perennial.ranking.context import MOST_ITEMS, PADDING, Context, Numbers, mark, parsed, rectangle
from perennial.ranking.index import IDS
from perennial.ranking.judgements import BELOW
from perennial.ranking.judgements import parsed as judged
from perennial.task_protocol import Ask
from perennial.types import Array, Document, FeedbackRow, Signature, Tensors, TensorSpec

__all__ = ["RecommendCodec"]

TOP = 20
POOL = 100
"""Of how many items that would not be shown one is, where something else is tried."""
REMEMBERED = 100_000
"""Users whose last clicks are kept in mind; 20 MB or so."""
Shown = tuple[list[str], list[float], list[float]]
"""Ids, scores and propensities."""


class RecommendCodec(RankingCodec):
    """Reads `recommend.json` {size, scale, offset, users, strangers} and the items; a score is the
    probability of a click.

    Nothing is recommended that the user took already. `take_feedback` adds what he was told to have clicked
    since to what he took last.
    """

    FILES = ("recommend.json", *RankingCodec.FILES)
    longest = 1 + MOST_ITEMS

    def __init__(self, folder: Path) -> None:
        known = json.loads((folder / "recommend.json").read_text())
        super().__init__(folder, int(known["size"]), TOP, float(known["scale"]))
        self.signature = _signature(self.outputs)
        self.explore = 0.0
        self._offset = float(known["offset"])
        self._users, self._strangers = int(known["users"]), int(known["strangers"])
        self._clicked = OrderedDict[str, deque[str]]()
        self._turn = Lock()  # feedback comes from another thread
        self._random = Random()

    @cached_property
    def _numbers(self) -> Numbers:
        items = json.loads((self._folder / IDS).read_text("utf-8"))
        return Numbers(items, self._users, self._strangers)

    def check(self, request: Tensors) -> None:
        for place, raw in enumerate(request["TEXT"].ravel()):
            check_text(place, raw)
            parsed(str(raw, "utf-8"))
        check_number(request, "TOP_K", 1, MOST)

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        return [
            self._tensors([parsed(str(raw, "utf-8")) for raw in request["TEXT"].ravel()])
            for request in requests
        ]

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:
        vectors = np.concatenate([output["vector"] for output in outputs])
        taken = [{*row.tolist()} - {PADDING} for output in outputs for row in output["taken"]]
        wanted = [asked_top(request, TOP) for request in requests]
        most = max(wanted) + max(map(len, taken)) + (POOL if self.explore else 0)
        scores, places = self.index.nearest(self.queries(vectors), most)
        rows = iter(zip(scores, places, taken, strict=True))
        return [
            self._answer([self._shown(*next(rows), top) for _ in output["vector"]], top, output["TRUNCATED"])
            for output, top in zip(outputs, wanted, strict=True)
        ]

    def take_feedback(self, rows: Sequence[FeedbackRow], learned: Sequence[FeedbackRow] = ()) -> None:  # noqa: ARG002
        """Have these in mind from now on, from any thread."""
        for row in rows:
            liked = [one.document for one in judged(row.label) if one.wanted]
            user = parsed(row.text).user
            with self._turn:
                last = self._clicked.setdefault(user, deque(maxlen=MOST_ITEMS))
                self._clicked.move_to_end(user)
                last.extend(name for name in liked if not name.endswith(BELOW))
                if len(self._clicked) > REMEMBERED:
                    self._clicked.popitem(last=False)

    def forget_feedback(self) -> None:
        with self._turn:
            self._clicked.clear()

    def place(self, changes: Sequence[Document], ask: Ask) -> list[bytes]:  # noqa: ARG002
        """An item that is taken out is gone at once; one that comes, or has another text, waits for the next
        release, for no engine reads texts here."""
        found = [None if one.text is None else self.index.vector(one.name) for one in changes]
        return [b"" if vector is None else vector.astype(np.float32).tobytes() for vector in found]

    def _with_clicks(self, context: Context) -> Context:
        """With all that he is known to have clicked, in order: what he clicked after the last click that the
        request tells of is newer than what it tells, and what it leaves out is older."""
        with self._turn:
            clicked = [*self._clicked.get(context.user, ())]
        told = {*context.items}
        newer = max((place for place, name in enumerate(clicked, 1) if name in told), default=0)
        older = [name for name in clicked[:newer] if name not in told]
        return Context(context.user, (*older, *context.items, *clicked[newer:]))

    def _tensors(self, asked: Sequence[Context]) -> Tensors:
        contexts = [self._with_clicks(context) for context in asked]
        rows = [self._numbers.row(context) for context in contexts]
        taken = [[mark(name) for name in context.items] or [PADDING] for context in contexts]
        ids = rectangle(rows)
        return {
            "input_ids": ids,
            "attention_mask": (ids != PADDING).astype(np.int64),
            "taken": rectangle(taken),
            "TRUNCATED": np.array([[len(context.items) > MOST_ITEMS] for context in asked]),
        }

    def _shown(self, scores: Array, places: Array, taken: set[int], top: int) -> Shown:
        """Retrieved, then ranked: without what was taken, best first; and in some places something else."""
        scores, places = scores[places >= 0], places[places >= 0]
        likely = 1 / (1 + np.exp(-(self._scale * scores + self._offset)))
        left = [
            (name, float(score))
            for name, score in zip((self.index.ids[place] for place in places), likely, strict=True)
            if mark(name) not in taken
        ]
        chances = [1.0] * min(top, len(left))
        if self.explore and len(left) > top:
            self._try_others(left, chances)
        shown = left[: len(chances)]
        return [name for name, _ in shown], [score for _, score in shown], chances

    def _try_others(self, left: list[tuple[str, float]], chances: list[float]) -> None:
        """In each place with the probability `explore` one of those that would not be shown, each as likely
        as any other; and how likely what then stands there was to do so."""
        for place in range(len(chances)):
            others = range(len(chances), len(left))
            chances[place] = 1 - self.explore
            if self._random.random() < self.explore:
                other = self._random.choice(others)
                left[place], left[other] = left[other], left[place]
                chances[place] = self.explore / len(others)

    def _answer(self, shown: Sequence[Shown], top: int, truncated: Array) -> Tensors:
        width = max((len(ids) for ids, *_ in shown), default=top)
        chances = np.zeros((len(shown), width), np.float32)
        for row, (_, _, of_row) in enumerate(shown):
            chances[row, : len(of_row)] = of_row
        rows = [(ids, scores) for ids, scores, _ in shown]
        return {**self.found(rows, width), "PROPENSITIES": chances, "TRUNCATED": truncated}


def _signature(size: int) -> Signature:
    truncated = TensorSpec("TRUNCATED", "BOOL", (1,))
    return Signature(
        request=(
            TensorSpec("TEXT", "BYTES", (1,)),
            TensorSpec("TOP_K", "INT32", (1,), optional=True),
        ),
        engine_in=(TensorSpec("input_ids", "INT64", (-1,)), TensorSpec("attention_mask", "INT64", (-1,))),
        carried=(TensorSpec("taken", "INT64", (-1,)), truncated),
        engine_out=(TensorSpec("vector", "FP32", (size,)),),
        answer=(
            TensorSpec("LABEL", "BYTES", (1,)),
            TensorSpec("DOCUMENTS", "BYTES", (-1,), again=True),
            TensorSpec("SCORES", "FP32", (-1,)),
            TensorSpec("PROPENSITIES", "FP32", (-1,)),
            truncated,
        ),
    )

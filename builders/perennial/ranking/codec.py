"""What a codec does with a vector that is looked for: finds documents, judges and explains what it found, and
learns from what is said of them. Leaves what the vector is made of to its task's codec."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perennial.errors import BadRequest
from perennial.heads import Evidence, corrected, of_residuals
from perennial.ranking.index import IDS, VECTORS, Index
from perennial.ranking.judgements import SAID, Judgement, parsed, written
from perennial.ranking.scores import in_top, judge
from perennial.types import Array, Choice, Example, Placed, Scores, Tensors

MOST = 100
"""Documents that can be asked for."""


class RankingCodec:
    """Of the documents of one release, and of those that came or went since. What a head adds to a vector
    moves what is looked for."""

    FILES: tuple[str, ...] = (IDS, VECTORS)
    classes = SAID
    balance = 0.5
    told_apart = ("wanted", "unwanted")

    def __init__(self, folder: Path, size: int, top: int, scale: float) -> None:
        """`size` of the vectors; `top` is how many documents are found where nothing else is asked; `scale`
        is what cosines were multiplied by, in training, to be logits."""
        self.feature_size = self.outputs = size
        self.top = top
        self._scale = scale
        self._folder = folder
        self._head: Array | None = None

    @cached_property
    def index(self) -> Index:
        """Read when it is first asked: of the stages only the last one does."""
        return Index.read(self._folder)

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """By `scores.judge`; of an answer that has its best document alone, by that."""
        return judge(_said(answers), [example.label for example in examples], self.top)

    def told(self, answers: Sequence[Tensors]) -> list[tuple[str, float]]:
        scores = [float(row[0]) if len(row) else 1.0 for answer in answers for row in answer["SCORES"]]
        best = [found[0] if found else "nothing" for found in _said(answers)]
        return [(name, min(1.0, max(0.0, score))) for name, score in zip(best, scores, strict=True)]

    def probes(self, examples: Sequence[Example]) -> list[Example]:
        return [*examples]

    def confusion(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Array:
        counts = np.zeros((2, 2), int)
        for found, example in zip(_said(answers), examples, strict=True):
            for one in parsed(example.label):
                counts[int(not one.wanted), int(not in_top(found, one, self.top).any())] += 1
        return counts

    def evidence(self, outputs: Sequence[Tensors], examples: Sequence[Example]) -> Evidence:
        """A row for each judgement, with its weight as its length; nothing of a document that is not there:
        how many rows there are must not hang on what comes and goes."""
        vectors = np.concatenate([output["vector"] for output in outputs])
        told = [
            (vectors[row], one, example.weight)
            for row, example in enumerate(examples)
            for one in parsed(example.label)
        ]
        lengths = np.sqrt([self._weight(one) for _, one, _ in told])[:, None]
        asked = np.array([vector for vector, *_ in told], np.float32).reshape(-1, self.outputs)
        return of_residuals(
            lengths * asked,
            lengths * self._lacks(asked, [one for _, one, _ in told]),
            np.array([SAID.index(one.said) for _, one, _ in told], int),
            np.array([trust for *_, trust in told]),
        )

    def columns(self, example: Example) -> Array:
        return np.array([SAID.index(one.said) for one in parsed(example.label)], int)

    def choice(self, output: Tensors) -> Choice:
        (vector,) = output["vector"]
        _, places = self.index.nearest(self.queries(output["vector"]), 2)
        if places.shape[1] < 2:
            raise BadRequest("fewer than two documents are indexed, so there is nothing to choose between")
        best, other = (self.index.ids[place] for place in places[0])
        towards = [self.index.vector(name) for name in (best, other)]
        return Choice(np.asarray(towards[0]) - np.asarray(towards[1]), best, other, vector)

    def take_head(self, weights: Array | None) -> None:
        self._head = None if weights is None else weights.astype(np.float32)

    def take_documents(self, changes: Sequence[Placed]) -> None:
        self.index.take(
            (one.name, np.frombuffer(one.vector, np.float32) if one.vector else None) for one in changes
        )

    def queries(self, vectors: Array) -> Array:
        """What is looked for in place of these vectors: (texts, size), of length 1."""
        head = self._head  # another thread may exchange it
        return vectors if head is None else unit(corrected(vectors, vectors, head))

    def found(self, rows: Sequence[tuple[Sequence[str], Sequence[float]]], width: int) -> Tensors:
        """Answer tensors of ids and scores, best first, of `width` a row; an id that lacks is empty."""
        names = np.full((len(rows), width), b"", np.object_)
        scores = np.zeros((len(rows), width), np.float32)
        for row, (ids, of_ids) in enumerate(rows):
            names[row, : len(ids)] = [name.encode() for name in ids]
            scores[row, : len(ids)] = of_ids
        best = [written([Judgement(ids[0])]) if ids else "" for ids, _ in rows]
        return {
            "LABEL": np.array([label.encode() for label in best], np.object_).reshape(-1, 1),
            "DOCUMENTS": names,
            "SCORES": scores,
        }

    def _weight(self, judgement: Judgement) -> float:
        return min(1.0, judgement.weight) if self.index.vector(judgement.document) is not None else 0.0

    def _lacks(self, vectors: Array, judgements: Sequence[Judgement]) -> Array:
        """(judgements, size): what each text's vector lacks. It is the way to what is wanted from what is
        expected, the gradient of that document's log-likelihood, so that where the release expects what
        comes nothing moves; or the way off what is not wanted.

        Towards the wanted document from the vector itself, 2,000 clicks cost the next films .0145 of
        recall@20 and 500 judgements the posts .004 of nDCG@10; from what is expected .0005, and none.
        """
        found = -self.index.expected(vectors, self._scale)
        for row, (vector, one) in enumerate(zip(vectors, judgements, strict=True)):
            document = self.index.vector(one.document)
            if document is None:
                found[row] = 0.0
            elif one.wanted:
                found[row] += document
            else:
                found[row] = -float(vector @ document) * document
        return found


def asked_top(request: Tensors, else_top: int) -> int:
    """How many documents a request wants."""
    return int(request["TOP_K"].flat[0]) if "TOP_K" in request else else_top


def unit(vectors: Array) -> Array:
    """Each of length 1."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray((vectors / lengths).astype(np.float32))


def _said(answers: Sequence[Tensors]) -> list[list[str]]:
    """The documents that were found for each text, best first."""
    return [[raw.decode() for raw in row if raw] for answer in answers for row in _rows(answer)]


def _rows(answer: Tensors) -> Any:
    if "DOCUMENTS" in answer:
        return answer["DOCUMENTS"]
    return [[one.document.encode() for one in parsed(raw.decode())] for raw in answer["LABEL"].ravel()]

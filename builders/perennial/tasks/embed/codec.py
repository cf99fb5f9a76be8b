"""What `embed` says on the wire: texts to token ids, a text's vector to the documents that are nearest to it.

Knows the tokenizer and the documents of one release. Leaves the network to the engine, and batching across
requests and prediction ids to the stages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from perennial.encoders.asked import check_number, check_text
from perennial.encoders.tokens import Tokens
from perennial.errors import BadRequest
from perennial.heads import Evidence, corrected, of_residuals
from perennial.tasks.embed._index import IDS, VECTORS, Index
from perennial.tasks.embed._judgements import NOT_RELEVANT, SAID, Judgement, parsed, written
from perennial.tasks.embed._scores import TOP, in_top, judge
from perennial.types import Array, Choice, Example, Placed, Scores, Signature, Tensors, TensorSpec

__all__ = ["EmbedCodec"]

MOST = 100
"""Documents that can be asked for."""
SHORTEST = 8


class EmbedCodec:
    """Reads `embed.json` {size, max_tokens, pad_id}, the tokenizer and the documents.

    A text of more than `max_tokens` tokens is cut and flagged. What a head adds to a text's vector moves what
    is found, and not the vector that is answered: that is to be compared with others' of the release.
    """

    FILES = ("tokenizer.json", "embed.json", IDS, VECTORS)
    classes = SAID
    told_apart = ("wanted", "unwanted")

    def __init__(self, folder: Path) -> None:
        known = json.loads((folder / "embed.json").read_text())
        self.feature_size = self.outputs = int(known["size"])
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokens = Tokens(tokenizer, known["max_tokens"], known["pad_id"])
        self._folder = folder
        self.signature = _signature(self.outputs)
        self._head: Array | None = None

    @cached_property
    def index(self) -> Index:
        """Read when it is first asked: of the stages only the last one does."""
        return Index.read(self._folder)

    def check(self, request: Tensors) -> None:
        for place, raw in enumerate(request["TEXT"].ravel()):
            check_text(place, raw)
        check_number(request, "TOP_K", 0, MOST)
        check_number(request, "DIMENSIONS", min(SHORTEST, self.outputs), self.outputs)

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        texts = [str(raw, "utf-8") for request in requests for raw in request["TEXT"].ravel()]
        encodings = iter(self._tokens.encode(texts))
        return [self._tensors([next(encodings) for _ in range(request["TEXT"].size)]) for request in requests]

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:
        vectors = np.concatenate([output["vector"] for output in outputs])
        scores, places = self.index.nearest(self._queries(vectors), max(map(_top_k, requests)))
        answers, start = [], 0
        for request, output in zip(requests, outputs, strict=True):
            here = slice(start, start + len(output["vector"]))
            top = slice(_top_k(request))
            answers.append(
                {
                    **self._found(scores[here, top], places[here, top]),
                    "EMBEDDING": _shortened(vectors[here], request),
                    "TRUNCATED": output["TRUNCATED"],
                }
            )
            start = here.stop
        return answers

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """By `_scores.judge`; of an answer that has its best document alone, by that."""
        return judge(_said(answers), [example.label for example in examples])

    def told(self, answers: Sequence[Tensors]) -> list[tuple[str, float]]:
        scores = [float(row[0]) if len(row) else 1.0 for answer in answers for row in answer["SCORES"]]
        best = [found[0] if found else "nothing" for found in _said(answers)]
        return [(name, min(1.0, max(0.0, score))) for name, score in zip(best, scores, strict=True)]

    def confusion(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Array:
        counts = np.zeros((2, 2), int)
        for found, example in zip(_said(answers), examples, strict=True):
            for one in parsed(example.label):
                counts[int(one.said == NOT_RELEVANT), int(not in_top(found, one).any())] += 1
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
        return of_residuals(
            lengths * np.array([vector for vector, *_ in told]).reshape(-1, self.outputs),
            lengths * np.array([self._lacks(*pair[:2]) for pair in told]).reshape(-1, self.outputs),
            np.array([SAID.index(one.said) for _, one, _ in told], int),
            np.array([trust for *_, trust in told]),
        )

    def columns(self, example: Example) -> Array:
        return np.array([SAID.index(one.said) for one in parsed(example.label)], int)

    def choice(self, output: Tensors) -> Choice:
        (vector,) = output["vector"]
        _, places = self.index.nearest(self._queries(output["vector"]), 2)
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

    def place(self, output: Tensors | None) -> bytes:
        return b"" if output is None else output["vector"].astype(np.float32).tobytes()

    def _queries(self, vectors: Array) -> Array:
        """What is looked for in place of the vectors of texts: (texts, size), of length 1."""
        head = self._head  # another thread may exchange it
        return vectors if head is None else _unit(corrected(vectors, vectors, head))

    def _weight(self, judgement: Judgement) -> float:
        return min(1.0, judgement.weight) if self.index.vector(judgement.document) is not None else 0.0

    def _lacks(self, vector: Array, judgement: Judgement) -> Array:
        """What the vector of a text lacks: the way to what it wants, or away from what it does not."""
        document = self.index.vector(judgement.document)
        if document is None:
            return np.zeros(self.outputs)
        if judgement.said == NOT_RELEVANT:
            return np.asarray(-float(vector @ document) * document)
        return np.asarray(document - vector)

    def _found(self, scores: Array, places: Array) -> Tensors:
        ids = [[self.index.ids[place] for place in row if place >= 0] for row in places]
        names = np.full(places.shape, b"", np.object_)
        for row, of_text in enumerate(ids):
            names[row, : len(of_text)] = [name.encode() for name in of_text]
        best = [written([Judgement(row[0])]) if row else "" for row in ids]
        return {
            "LABEL": np.array([label.encode() for label in best], np.object_).reshape(-1, 1),
            "DOCUMENTS": names,
            "SCORES": scores.astype(np.float32),
        }

    def _tensors(self, encodings: Sequence[Any]) -> Tensors:
        ids, mask = self._tokens.pad([encoding.ids for encoding in encodings])
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "TRUNCATED": self._tokens.truncated(encodings),
        }


def _signature(size: int) -> Signature:
    truncated = TensorSpec("TRUNCATED", "BOOL", (1,))
    return Signature(
        request=(
            TensorSpec("TEXT", "BYTES", (1,)),
            TensorSpec("TOP_K", "INT32", (1,), optional=True),
            TensorSpec("DIMENSIONS", "INT32", (1,), optional=True),
        ),
        engine_in=(TensorSpec("input_ids", "INT64", (-1,)), TensorSpec("attention_mask", "INT64", (-1,))),
        carried=(truncated,),
        engine_out=(TensorSpec("vector", "FP32", (size,)),),
        answer=(
            TensorSpec("LABEL", "BYTES", (1,)),
            TensorSpec("EMBEDDING", "FP32", (-1,)),
            TensorSpec("DOCUMENTS", "BYTES", (-1,), again=True),
            TensorSpec("SCORES", "FP32", (-1,)),
            truncated,
        ),
    )


def _top_k(request: Tensors) -> int:
    return int(request["TOP_K"].flat[0]) if "TOP_K" in request else TOP


def _shortened(vectors: Array, request: Tensors) -> Array:
    """The first numbers of each, of length 1 again (Kusupati et al., arXiv:2205.13147): what an encoder that
    was not trained for it loses by that, its user has to know."""
    if "DIMENSIONS" not in request:
        return vectors
    return _unit(vectors[:, : int(request["DIMENSIONS"].flat[0])])


def _unit(vectors: Array) -> Array:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray((vectors / lengths).astype(np.float32))


def _said(answers: Sequence[Tensors]) -> list[list[str]]:
    """The documents that were found for each text, best first."""
    return [_ids(row) for answer in answers for row in _rows(answer)]


def _rows(answer: Tensors) -> Any:
    if "DOCUMENTS" in answer:
        return answer["DOCUMENTS"]
    return [[one.document.encode() for one in parsed(raw.decode())] for raw in answer["LABEL"].ravel()]


def _ids(row: Any) -> list[str]:
    return [raw.decode() for raw in row if raw]

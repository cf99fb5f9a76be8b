"""What `tag` says on the wire: texts to token ids, the logits of words to spans with their labels and scores.

Knows the tokenizer, the labels and the calibration of one release. Leaves the network to the engine, and
batching across requests and prediction ids to the stages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perennial.encoders.asked import FILES, Known, check_text, over, softmax
from perennial.encoders.tokens import MAX_WINDOWS, Placed
from perennial.errors import BadRequest
from perennial.heads import Evidence, corrected, evidence
from perennial.tasks.tag._scores import ELSEWHERE, confused, judge
from perennial.tasks.tag._spans import (
    OUTSIDE,
    Label,
    Span,
    columns,
    likeliest,
    names_of,
    parsed,
    spans,
    written,
)
from perennial.tasks.tag._words import NO_WORD, begin, words
from perennial.types import UNTOLD, Array, Choice, Example, Scores, Signature, Tensors, TensorSpec

__all__ = ["TagCodec"]


class _Found(NamedTuple):
    span: Span
    score: float


class TagCodec:
    """Reads what `asked.Known` says; a piece is a word, of which the engine tells at its first token.

    A text of more than `max_tokens` tokens is read in windows; one of more than `MAX_WINDOWS` of them is cut
    and flagged. All words of a span have one label: of the ways to tell that, the likeliest is told (on
    CoNLL-2003 worth 1.5 points of entity F1 over each word's likeliest class). A span's score is the mean
    probability of its words' classes; one whose score is below `threshold` is left out.
    """

    FILES = FILES
    balance = 0.25
    """What counts are spans that are right. Of 500 CoNLL sentences in a hurry a head with .5 gained 3.6
    points of entity F1, with 1 lost 4.4, with .25 gained 7.2 and with 0 gained 9.5; but of a single sentence
    one with 0 learned nothing where those with .25 and .5 did."""

    def __init__(self, folder: Path) -> None:
        self._known = Known.read(folder)
        self.longest = MAX_WINDOWS * self._known.tokens.max_tokens
        self.classes, self.feature_size = self._known.classes, self._known.features
        self.outputs = len(self.classes)
        self.told_apart = (*names_of(self.classes), ELSEWHERE)
        self.signature = _signature(len(self.classes), self.feature_size)
        self._head: Array | None = None

    def check(self, request: Tensors) -> None:
        for index, raw in enumerate(request["TEXT"].ravel()):
            check_text(index, raw)

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        texts = [str(raw, "utf-8") for request in requests for raw in request["TEXT"].ravel()]
        placed = iter(self._known.tokens.placed(texts))
        return [self._tensors([next(placed) for _ in range(request["TEXT"].size)]) for request in requests]

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:  # noqa: ARG002
        probabilities = softmax(self._logits(outputs) / self._known.temperature)
        answers, start = [], 0
        for output in outputs:
            found = []
            for placed in output["WORDS"]:
                of_text = placed[begin(placed)]
                here = slice(start, start + len(of_text))
                found.append(self._found(probabilities[here], of_text))
                start = here.stop
            answers.append({**_answer(found), "TRUNCATED": output["TRUNCATED"]})
        return answers

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """How many spans are exactly right: see `_scores.judge`."""
        return judge(_said(answers), [example.label for example in examples])

    def told(self, answers: Sequence[Tensors]) -> list[tuple[str, float]]:
        """Its spans, and the score of the least sure one; of none, 1."""
        return [_in_words(json.loads(raw)) for answer in answers for raw in answer["SPANS"].ravel()]

    def probes(self, examples: Sequence[Example]) -> list[Example]:
        return [*examples]

    def confusion(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Array:
        return confused(_said(answers), [example.label for example in examples], self.told_apart)

    def evidence(self, outputs: Sequence[Tensors], examples: Sequence[Example]) -> Evidence:
        placed = [row for output in outputs for row in output["WORDS"]]
        wanted = [
            columns(parsed(example.label), row[begin(row)], self.classes)
            for row, example in zip(placed, examples, strict=True)
        ]
        classes = np.concatenate([np.zeros(0, int), *wanted])
        trust = np.repeat([example.weight for example in examples], [len(one) for one in wanted])
        told = classes != UNTOLD
        return evidence(
            _of_words(outputs, "features")[told],
            _of_words(outputs, "logits")[told],
            classes[told],
            trust[told],
            self._known.slope,
        )

    def columns(self, example: Example) -> Array:
        (text,) = self._known.tokens.placed([example.text])
        placed = words(text.windows)
        found = columns(parsed(example.label), placed[begin(placed)], self.classes)
        return np.asarray(found[found != UNTOLD])

    def choice(self, output: Tensors) -> Choice:
        """Of the word that is least sure, among those of spans, or else among all."""
        (placed,) = output["WORDS"]
        of_text, logits = placed[begin(placed)], self._logits([output])
        if not len(of_text):
            raise BadRequest("the text has no word, so nothing of its answer can be explained")
        order = np.argsort(-logits, axis=1, kind="stable")[:, :2]
        rows = np.arange(len(order))
        margins = logits[rows, order[:, 0]] - logits[rows, order[:, 1]]
        outside = order[:, 0] == self.classes.index(OUTSIDE)
        word = int(np.where(outside & ~outside.all(), np.inf, margins).argmin())
        best, other = order[word].tolist()
        start, end = of_text[word].tolist()
        shown = [f"{self.classes[column]} at {start}-{end}" for column in (best, other)]
        towards, features = over(best, other, self.outputs), _of_words([output], "features")[word]
        return Choice(towards, shown[0], shown[1], features)

    def take_head(self, weights: Array | None) -> None:
        self._head = None if weights is None else (weights / self._known.slope).astype(np.float32)

    def _logits(self, outputs: Sequence[Tensors]) -> Array:
        """(words of all texts, classes), with the head's."""
        logits, head = _of_words(outputs, "logits"), self._head  # another thread may exchange it
        return logits if head is None else corrected(logits, _of_words(outputs, "features"), head)

    def _found(self, probabilities: Array, of_text: Array) -> list[_Found]:
        """The spans of a text, of whose words these are the probabilities (words, classes) and the places."""
        best = likeliest(probabilities, self.classes)
        sure = probabilities[np.arange(len(best)), best]
        made = spans([self.classes[column] for column in best.tolist()], of_text)
        summed = np.concatenate([[0.0], np.cumsum(sure)]).tolist()
        found = [
            _Found(span, (summed[place.stop] - summed[place.start]) / (place.stop - place.start))
            for span, place in made
        ]
        return [one for one in found if one.score >= self._known.threshold]

    def _tensors(self, texts: Sequence[Placed]) -> Tensors:
        ids, mask = self._known.tokens.pad([text.ids for text in texts])
        placed = np.full((*ids.shape, 2), NO_WORD, np.int32)
        for row, text in zip(placed, texts, strict=True):
            of_text = words(text.windows)
            row[: len(of_text)] = of_text
        cut = np.array([[text.cut] for text in texts])
        return {"input_ids": ids, "attention_mask": mask, "WORDS": placed, "TRUNCATED": cut}


def _signature(classes: int, features: int) -> Signature:
    truncated = TensorSpec("TRUNCATED", "BOOL", (1,))
    return Signature(
        request=(TensorSpec("TEXT", "BYTES", (1,)),),
        engine_in=(TensorSpec("input_ids", "INT64", (-1,)), TensorSpec("attention_mask", "INT64", (-1,))),
        carried=(TensorSpec("WORDS", "INT32", (-1, 2)), truncated),
        engine_out=(
            TensorSpec("logits", "FP32", (-1, classes)),
            TensorSpec("features", "FP32", (-1, features)),
        ),
        answer=(
            TensorSpec("LABEL", "BYTES", (1,)),
            TensorSpec("SPANS", "BYTES", (1,), again=True),
            TensorSpec("STARTS", "INT32", (-1,)),
            TensorSpec("ENDS", "INT32", (-1,)),
            TensorSpec("SPAN_LABELS", "BYTES", (-1,)),
            TensorSpec("SPAN_SCORES", "FP32", (-1,)),
            truncated,
        ),
    )


def _answer(found: Sequence[Sequence[_Found]]) -> Tensors:
    """Of the texts of a request; flat tensors are filled up with -1, no label and 0."""
    shape = len(found), max(map(len, found), default=0)
    starts, ends = (np.full(shape, -1, np.int32) for _ in range(2))
    names, scores = np.full(shape, b"", np.object_), np.zeros(shape, np.float32)
    for row, of_text in enumerate(found):
        for place, ((start, end, name), score) in enumerate(of_text):
            starts[row, place], ends[row, place] = start, end
            names[row, place], scores[row, place] = name.encode(), score
    labels = [written(Label(tuple(one.span for one in of_text))) for of_text in found]
    return {
        "LABEL": _column(labels),
        "SPANS": _column([json.dumps([_shown(one) for one in of_text]) for of_text in found]),
        "STARTS": starts,
        "ENDS": ends,
        "SPAN_LABELS": names,
        "SPAN_SCORES": scores,
    }


def _shown(found: _Found) -> dict[str, Any]:
    start, end, name = found.span
    return {"start": start, "end": end, "label": name, "score": round(found.score, 4)}


def _in_words(shown: Sequence[dict[str, Any]]) -> tuple[str, float]:
    spans = ", ".join(f"{span['label']} {span['start']}-{span['end']}" for span in shown)
    return spans or "none", min((float(span["score"]) for span in shown), default=1.0)


def _column(texts: Sequence[str]) -> Array:
    return np.array([text.encode() for text in texts], np.object_).reshape(-1, 1)


def _of_words(outputs: Sequence[Tensors], name: str) -> Array:
    """(words of all texts, …): what the engine says of each word's first token."""
    return np.concatenate([output[name][begin(output["WORDS"])] for output in outputs])


def _said(answers: Sequence[Tensors]) -> list[str]:
    return [raw.decode() for answer in answers for raw in answer["LABEL"].ravel()]

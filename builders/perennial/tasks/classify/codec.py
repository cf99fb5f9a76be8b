"""What `classify` says on the wire: texts to token ids, logits to a calibrated label with its runners-up.

Knows the tokenizer, the labels and the calibration of one release. Leaves the network to the engine, and
batching across requests and prediction ids to the stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perennial.encoders.asked import FILES, Known, check_number, check_text, over, softmax
from perennial.heads import Evidence, corrected, evidence
from perennial.tasks.classify._scores import judge
from perennial.types import Array, Choice, Example, Scores, Signature, Tensors, TensorSpec

__all__ = ["ClassifyCodec"]


class ClassifyCodec:
    """Reads what `asked.Known` says; a text is one piece.

    A text of more than `max_tokens` tokens is cut and flagged; an answer whose score is below `threshold`
    abstains: its label is empty.
    """

    FILES = FILES
    balance = 0.5

    def __init__(self, folder: Path) -> None:
        self._known = Known.read(folder)
        self.longest = self._known.tokens.max_tokens
        self.labels = self.classes = self.told_apart = self._known.classes
        self.feature_size, self.outputs = self._known.features, len(self.classes)
        self.signature = _signature(len(self.labels), self.feature_size)
        self._label_bytes = np.array([label.encode() for label in self.labels], dtype=np.object_)
        self._head: Array | None = None

    def check(self, request: Tensors) -> None:
        for index, raw in enumerate(request["TEXT"].ravel()):
            check_text(index, raw)
        check_number(request, "TOP_K", 1, len(self.labels))

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        texts = [str(raw, "utf-8") for request in requests for raw in request["TEXT"].ravel()]
        encodings = self._known.tokens.encode(texts)
        encoded, start = [], 0
        for request in requests:
            end = start + request["TEXT"].size
            encoded.append(self._tensors(encodings[start:end]))
            start = end
        return encoded

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:
        probabilities = softmax(self._logits(outputs) / self._known.temperature)
        ranked = np.argsort(-probabilities, axis=1, kind="stable")
        answers, start = [], 0
        for request, output in zip(requests, outputs, strict=True):
            here = slice(start, start + len(output["logits"]))
            top_k = int(request["TOP_K"].flat[0]) if "TOP_K" in request else 1
            answer = self._answer(probabilities[here], ranked[here, :top_k])
            answers.append({**answer, "TRUNCATED": output["TRUNCATED"]})
            start = here.stop
        return answers

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """Accuracy and macro-F1; an abstained answer counts as wrong."""
        return judge(_said(answers), [example.label for example in examples], self.labels)

    def told(self, answers: Sequence[Tensors]) -> list[tuple[str, float]]:
        scores = [float(score) for answer in answers for score in answer["SCORE"].ravel()]
        return [*zip(_said(answers), scores, strict=True)]

    def probes(self, examples: Sequence[Example]) -> list[Example]:
        return [*examples]

    def confusion(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Array:
        said = [raw.decode() for answer in answers for raw in answer["TOP_LABELS"][:, 0]]
        counts = np.zeros((len(self.labels), len(self.labels)), int)
        np.add.at(counts, (self._columns(row.label for row in examples), self._columns(said)), 1)
        return counts

    def evidence(self, outputs: Sequence[Tensors], examples: Sequence[Example]) -> Evidence:
        return evidence(
            np.concatenate([output["features"] for output in outputs]),
            np.concatenate([output["logits"] for output in outputs]),
            self._columns(example.label for example in examples),
            np.array([example.weight for example in examples]),
            self._known.slope,
        )

    def columns(self, example: Example) -> Array:
        return self._columns([example.label])

    def choice(self, output: Tensors) -> Choice:
        (logits,), (features,) = self._logits([output]), output["features"]
        best, other = np.argsort(-logits, kind="stable")[:2].tolist()
        return Choice(over(best, other, self.outputs), self.labels[best], self.labels[other], features)

    def take_head(self, weights: Array | None) -> None:
        self._head = None if weights is None else (weights / self._known.slope).astype(np.float32)

    def _logits(self, outputs: Sequence[Tensors]) -> Array:
        """(texts of all requests, labels), with the head's."""
        logits = np.concatenate([output["logits"] for output in outputs])
        head = self._head  # another thread may exchange it
        if head is None:
            return logits
        return corrected(logits, np.concatenate([output["features"] for output in outputs]), head)

    def _columns(self, labels: Iterable[str]) -> Array:
        """(labels,) where each stands among the service's."""
        return np.array([self.labels.index(label) for label in labels], int)

    def _tensors(self, encodings: Sequence[Any]) -> Tensors:
        tokens = self._known.tokens
        ids, mask = tokens.pad([encoding.ids for encoding in encodings])
        return {"input_ids": ids, "attention_mask": mask, "TRUNCATED": tokens.truncated(encodings)}

    def _answer(self, probabilities: Array, top: Array) -> Tensors:
        """From (texts, labels) probabilities and the (texts, k) indices of the best, best first."""
        top_scores = probabilities[np.arange(len(top))[:, None], top]
        top_labels = self._label_bytes[top]
        label = top_labels[:, :1].copy()
        label[top_scores[:, :1] < self._known.threshold] = b""
        return {
            "LABEL": label,
            "SCORE": top_scores[:, :1],
            "TOP_LABELS": top_labels,
            "TOP_SCORES": top_scores,
        }


def _signature(labels: int, features: int) -> Signature:
    truncated = TensorSpec("TRUNCATED", "BOOL", (1,))
    return Signature(
        request=(TensorSpec("TEXT", "BYTES", (1,)), TensorSpec("TOP_K", "INT32", (1,), optional=True)),
        engine_in=(TensorSpec("input_ids", "INT64", (-1,)), TensorSpec("attention_mask", "INT64", (-1,))),
        carried=(truncated,),
        engine_out=(
            TensorSpec("logits", "FP32", (labels,)),
            *([TensorSpec("features", "FP32", (features,))] if features else []),
        ),
        answer=(
            TensorSpec("LABEL", "BYTES", (1,)),
            TensorSpec("SCORE", "FP32", (1,)),
            truncated,
            TensorSpec("TOP_LABELS", "BYTES", (-1,)),
            TensorSpec("TOP_SCORES", "FP32", (-1,)),
        ),
    )


def _said(answers: Sequence[Tensors]) -> list[str]:
    """The label of each text; empty where it abstains."""
    return [raw.decode() for answer in answers for raw in answer["LABEL"].ravel()]

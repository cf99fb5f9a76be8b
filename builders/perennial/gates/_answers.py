"""Asks a predictor each different text once, and refuses numbers that are not numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.protocols import Predictor
from perennial.types import Array, Example, Tensors


class NotFinite(Exception):
    """The outputs hold NaN or infinity; the message says for how many texts and gives one."""


@dataclass(frozen=True)
class Judged:
    """`rows`, (examples,) in [0, 1], says how right each answer is.

    `correct` in [0, 1] does for each different text: the mean over its rows, which are not independent.
    `confidence` is the SCORE of its answer; of no text, where the task gives none.
    """

    rows: Array
    correct: Array
    metrics: Mapping[str, float]
    confidence: Array


def distinct(examples: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(example.text for example in examples))


def finite_outputs(predictor: Predictor, texts: Sequence[str]) -> list[Tensors]:
    """The predictor's outputs for each text, or `NotFinite`."""
    outputs = predictor.outputs(texts)
    broken = [text for text, tensors in zip(texts, outputs, strict=True) if not _finite(tensors)]
    if broken:
        raise NotFinite(
            f"NaN or infinity for {len(broken)} of {len(texts)} texts, such as {broken[0][:80]!r}"
        )
    return outputs


def judged(predictor: Predictor, examples: Sequence[Example]) -> Judged:
    texts = distinct(examples)
    answers = predictor.decode(texts, finite_outputs(predictor, texts))
    return scored(predictor, dict(zip(texts, answers, strict=True)), examples)


def scored(predictor: Predictor, answers: Mapping[str, Tensors], examples: Sequence[Example]) -> Judged:
    """From the answer to each text."""
    scores = predictor.codec.score([answers[example.text] for example in examples], examples)
    said = [answers[text] for text in distinct(examples)]
    confidence = np.array([answer["SCORE"].item() for answer in said if "SCORE" in answer])
    return Judged(scores.correct, mean_by_text(scores.correct, examples), scores.metrics, confidence)


def mean_by_text(values: Array, examples: Sequence[Example]) -> Array:
    """(examples,) to (different texts,), in the order of `distinct`."""
    return np.asarray(sum_by_text(values, examples) / sum_by_text(np.ones(len(examples)), examples))


def sum_by_text(values: Array, examples: Sequence[Example]) -> Array:
    """(examples,) to (different texts,), in the order of `distinct`."""
    numbers = {text: number for number, text in enumerate(distinct(examples))}
    return np.bincount([numbers[example.text] for example in examples], weights=values)


def _finite(tensors: Tensors) -> bool:
    return all(bool(np.isfinite(array).all()) for array in tensors.values() if array.dtype.kind == "f")

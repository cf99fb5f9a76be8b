"""The torch half of a task whose network is an encoder: all that does not hang on what its labels mean.

Knows the loss and the calibration. Leaves the choice of rows to learners, the loop to jobs, and to the task
which pieces of a text are told apart, and what each of them is.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy, one_hot

from perennial import losses
from perennial.encoders import anatomy, network
from perennial.encoders.any_task import NetworkTask, padded, rows_of, without_sense, write_tokenizer
from perennial.encoders.network import Encoder, Reading
from perennial.types import MADE_UP, UNTOLD, Array, Example, Scores

_AT_ONCE = 64
"""Texts run together, of like length."""
_CALIBRATED_ON = 500
"""Rows, at most: it is two numbers that they fit."""
_SLOPE = 0.25
"""Of logits that no row judged: that of the logistic function at its middle."""


class EncoderTask(NetworkTask, ABC):
    """Cross entropy over the pieces of texts, each of one of the model's classes."""

    reading: ClassVar[Reading]
    metric = "macro_f1"

    @abstractmethod
    def classes(self, labels: Collection[str]) -> list[str]:
        """What logits choose among in a service of these labels."""

    @abstractmethod
    def columns(self, model: Encoder, batch: Sequence[Example]) -> Tensor: ...

    @abstractmethod
    def said(self, model: Encoder, text: str, logits: Tensor) -> str:
        """The label of a text whose pieces have these logits (pieces, classes)."""

    @abstractmethod
    def judged(self, model: Encoder, said: Sequence[str], examples: Sequence[Example]) -> Scores:
        """How right these labels of the examples are."""

    def load(self, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> Encoder:
        new = self.classes(further) if further else ()
        return network.load(self.reading, checkpoint, self.classes(labels), new)

    def made_up(self, model: Encoder, count: int, seed: int) -> list[Example]:
        unlabelled = [Example(text, "", source=MADE_UP) for text in without_sense(model, count, seed)]
        labels = self._said(model, unlabelled)
        return [replace(row, label=label) for row, label in zip(unlabelled, labels, strict=True)]

    def save(self, model: Encoder, folder: Path) -> None:
        network.save(model, folder)

    def loss(self, model: Encoder, batch: Sequence[Example]) -> Tensor:
        """The cross entropy of each piece times its text's weight, averaged over those that are told."""
        logits = self.logits(model, batch)
        weights = losses.weights_of(batch, self.pieces(model, batch), logits)
        return losses.cross_entropy(logits, self.columns(model, batch), weights)

    def logits(self, model: Encoder, batch: Sequence[Example]) -> Tensor:
        ids, mask = padded(model, rows_of(model, [example.text for example in batch]))
        return self._of_pieces(model(ids, mask)[0].float(), mask)

    def compared(self, model: Encoder, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """No label compares answers."""
        return self.loss(model, batch), torch.zeros(0)

    def pieces(self, model: Encoder, batch: Sequence[Example]) -> list[int]:
        if self.reading.whole:
            return [1] * len(batch)
        return [sum(map(len, rows)) for rows in rows_of(model, [example.text for example in batch])]

    def score(self, model: Encoder, examples: Sequence[Example]) -> Scores:
        return self.judged(model, self._said(model, examples), examples)

    def states(self, model: Encoder, texts: Sequence[str]) -> tuple[Tensor, Tensor, list[int]]:
        rows = rows_of(model, list(texts))
        ids, mask = padded(model, rows)
        logits, hidden = model.states(ids, mask)
        tokens = [sum(map(len, of_text)) for of_text in rows]
        return self._of_pieces(logits.float(), mask), hidden[mask.bool()].float(), tokens

    def depth(self, model: Encoder) -> int:
        return len(anatomy.layers(model))

    def shallower(self, model: Encoder, layers: Sequence[int]) -> Encoder:
        return anatomy.shallower(model, layers)

    def importance(self, model: Encoder, examples: Sequence[Example]) -> tuple[list[Array], list[Array]]:
        def costs() -> Iterator[Tensor]:
            rows = sorted(examples, key=lambda row: len(row.text))
            for start in range(0, len(rows), _AT_ONCE):
                yield self.loss(model, rows[start : start + _AT_ONCE])

        return anatomy.importance(model, costs)

    def narrower(
        self, model: Encoder, heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]
    ) -> Encoder:
        return anatomy.narrower(model, heads, neurons)

    def matrices(self, model: Encoder) -> list[Parameter]:
        return anatomy.matrices(model)

    def write_codec(
        self, model: Encoder, validation: Sequence[Example], folder: Path, abstain_below: float
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_tokenizer(model, folder)
        known = {
            "max_tokens": model.tokens.max_tokens,
            "pad_id": model.tokens.pad_id,
            "features": model.feature_size,
        }
        _write(folder / "labels.json", {"labels": list(model.labels), **known})
        calibration = {"temperature": 1.0, "threshold": abstain_below, "slope": _SLOPE}
        if judged := validation[:_CALIBRATED_ON]:
            logits, targets = torch.cat(self._logits(model, judged)), self.columns(model, judged).cpu()
            logits, targets = logits[targets != UNTOLD], targets[targets != UNTOLD]
            calibration |= {"temperature": _temperature(logits, targets), "slope": _slope(logits, targets)}
        _write(folder / "calibration.json", calibration)

    def _of_pieces(self, logits: Tensor, mask: Tensor) -> Tensor:
        """(pieces of all texts, classes)."""
        return logits if self.reading.whole else logits[mask.bool()]

    def _said(self, model: Encoder, examples: Sequence[Example]) -> list[str]:
        logits = self._logits(model, examples)
        return [self.said(model, example.text, part) for example, part in zip(examples, logits, strict=True)]

    def _logits(self, model: Encoder, examples: Sequence[Example]) -> list[Tensor]:
        """(pieces, classes) of each example, float64, on the CPU; batched by length. The model stays in its
        mode."""
        training = model.training
        model.eval()
        order = sorted(range(len(examples)), key=lambda place: len(examples[place].text))
        found: dict[int, Tensor] = {}
        with torch.inference_mode():
            for start in range(0, len(order), _AT_ONCE):
                places = order[start : start + _AT_ONCE]
                some = [examples[place] for place in places]
                parts = self.logits(model, some).double().cpu().split(self.pieces(model, some))
                found.update(zip(places, parts, strict=True))
        model.train(training)
        return [found[place] for place in range(len(examples))]


def _temperature(logits: Tensor, targets: Tensor) -> float:
    """What to divide logits by for the least negative log likelihood, within [0.05, 20].

    Guo et al., "On calibration of modern neural networks", arXiv:1706.04599.
    """

    def cost(log_temperature: float) -> float:
        return float(cross_entropy(logits / math.exp(log_temperature), targets))

    return round(math.exp(_lowest(cost, math.log(0.05), math.log(20.0))), 6)


def _slope(logits: Tensor, targets: Tensor) -> float:
    """How much of a label one unit of logits is worth: least squares of labels on logits, both centred.

    Of labels that some target has: training has pushed any other's logits as far down as it could, and they
    would make a unit look worth little.
    """
    known, places = targets.unique(return_inverse=True)
    centred = logits[:, known] - logits[:, known].mean(1, keepdim=True)
    wanted = one_hot(places, len(known)) - 1 / len(known)
    slope = float((wanted * centred).sum() / centred.square().sum().clamp(min=1e-12))
    return round(min(max(slope, 0.01), 10.0), 6)


def _lowest(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where `cost`, which falls and then rises, is lowest: golden section search, to 1e-6."""
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    return (low + high) / 2


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

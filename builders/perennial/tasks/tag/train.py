"""The torch half of `tag`: each word of a text has a class, which its first token tells. The rest is what all
encoders share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perennial.encoders.network import TOKENS, Encoder, labels_of
from perennial.encoders.task import EncoderTask
from perennial.encoders.tokens import Placed
from perennial.errors import ConfigError, TrainingFailed
from perennial.tasks.tag._scores import judge
from perennial.tasks.tag._spans import (
    OUTSIDE,
    Label,
    classes_of,
    columns,
    likeliest,
    names_of,
    parsed,
    spans,
    written,
)
from perennial.tasks.tag._words import begin, words
from perennial.types import UNTOLD, Array, Example, Scores

__all__ = ["TagTask"]


TRAINING = MappingProxyType({"balance": 0.0})
"""What counts are spans that are right, and of these the usual labels are most."""
BUILDING = MappingProxyType(
    {**TRAINING, "trainable": "full", "learning_rate": 3e-4, "max_steps": 300, "max_seconds": 1800.0}
)
"""Words need more than texts: of CoNLL-2003 a usual build of 100 steps had an entity F1 of .38, this .74."""


class TagTask(EncoderTask):
    reading = TOKENS
    building: Mapping[str, Any] = BUILDING
    training: Mapping[str, Any] = TRAINING

    def classes(self, labels: Collection[str]) -> list[str]:
        return classes_of(labels)

    def labels(self, checkpoint: Path) -> list[str]:
        classes = labels_of(self.reading, checkpoint)
        names = names_of(classes)
        if OUTSIDE not in classes or not names:
            raise ConfigError(
                f"{str(checkpoint)!r} tells {', '.join(classes[:3])} apart, and a tagger O, B-… and I-…; "
                "name them so in id2label of its config.json"
            )
        return names

    def columns(self, model: Encoder, batch: Sequence[Example]) -> Tensor:
        placed = model.tokens.placed([example.text for example in batch])
        rows = [_columns(model, *pair) for pair in zip(placed, batch, strict=True)]
        return torch.from_numpy(np.concatenate(rows)).to(model.device)

    def said(self, model: Encoder, text: str, logits: Tensor) -> str:
        (placed,) = model.tokens.placed([text])
        found = words(placed.windows)
        first = begin(found)
        likely = logits[torch.from_numpy(first)].softmax(1).numpy()
        classes = [model.labels[column] for column in likeliest(likely, model.labels)]
        return written(Label(tuple(span for span, _ in spans(classes, found[first]))))

    def judged(self, model: Encoder, said: Sequence[str], examples: Sequence[Example]) -> Scores:  # noqa: ARG002
        return judge(said, [example.label for example in examples])


def _columns(model: Encoder, text: Placed, example: Example) -> Array:
    """(tokens,): the class of each word at its first token, `UNTOLD` at any other."""
    placed, label = words(text.windows), parsed(example.label)
    unknown = {name for _, _, name in label.spans} - {*names_of(model.labels)}
    if unknown:
        raise TrainingFailed(
            f"label {min(unknown)!r} of {example.text[:60]!r} is not one of {names_of(model.labels)}; "
            "mend the row, or build the service anew with the label"
        )
    found = np.full(len(placed), UNTOLD)
    first = begin(placed)
    found[first] = columns(label, placed[first], model.labels)
    return found

"""The torch half of `classify`: a text is one piece, of one label. The rest is what all encoders share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from perennial.encoders.network import TEXTS, Encoder, labels_of
from perennial.encoders.task import EncoderTask
from perennial.errors import TrainingFailed
from perennial.tasks.classify._scores import judge
from perennial.types import Example, Scores

__all__ = ["ClassifyTask"]


class ClassifyTask(EncoderTask):
    reading = TEXTS

    def classes(self, labels: Collection[str]) -> list[str]:
        return [*labels]

    def labels(self, checkpoint: Path) -> list[str]:
        return labels_of(self.reading, checkpoint)

    def columns(self, model: Encoder, batch: Sequence[Example]) -> Tensor:
        known = {label: column for column, label in enumerate(model.labels)}
        for example in batch:
            if example.label not in known:
                raise TrainingFailed(
                    f"label {example.label!r} of {example.text[:60]!r} is not one of {list(known)}; "
                    "mend the row, or build the service anew with the label"
                )
        return torch.tensor([known[example.label] for example in batch], device=model.device)

    def said(self, model: Encoder, text: str, logits: Tensor) -> str:  # noqa: ARG002
        return model.labels[int(logits[0].argmax())]

    def judged(self, model: Encoder, said: Sequence[str], examples: Sequence[Example]) -> Scores:
        return judge(said, [example.label for example in examples], model.labels)

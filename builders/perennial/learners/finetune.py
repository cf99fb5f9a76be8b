"""Learns the fresh rows and nothing else: the baseline, and right for a first build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._batching import by_length
from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Finetune"]


class Finetune:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self, task: Trainable, model: Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        pass

    def batches(
        self,
        fresh: Sequence[Example],
        old: Sequence[Example],  # noqa: ARG002
    ) -> Iterator[list[Example]]:
        batches = by_length(fresh, self._batch_size, self._rng)
        self._rng.shuffle(batches)
        return iter(batches)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        return task.loss(model, batch)

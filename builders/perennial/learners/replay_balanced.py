"""Replay that draws every label of the memory alike, however rare it is there: so a label that hardly comes
any more is not forgotten. Which rows are remembered is as for `replay`; where a label has few, each comes
often. Weights by `balance` make up for rare labels too: where it is 0, the drawing does so alone.

A class-balanced memory: Chrysakis and Moens, "Online continual learning from imbalanced data", ICML 2020,
whose reservoir is balanced as it fills; ours is uniform, and balanced as it is drawn from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._rehearsal import by_label, rehearsed
from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["ReplayBalanced"]


class ReplayBalanced:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self, task: Trainable, model: Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        pass

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        return rehearsed(fresh, old, self._batch_size, self._rng, by_label)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        return task.loss(model, batch)

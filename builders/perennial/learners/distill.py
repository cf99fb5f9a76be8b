"""Learns the fresh rows, and holds the answers to them to what the serving release answers: no memory is
needed, nor any row of what was learned before. It holds back corrections as well, which are fresh rows.

Learning without forgetting: Li and Hoiem, arXiv:1606.09282, with its temperature of 2 and both losses alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._batching import by_length
from perennial.learners._frozen import answers
from perennial.losses import cross_entropy, softened, weights_of
from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Distill"]


class Distill:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self,
        task: Trainable,
        model: Module,
        fresh: Sequence[Example],
        old: Sequence[Example],  # noqa: ARG002
    ) -> None:
        self._answered = answers(task, model, fresh)

    def batches(
        self,
        fresh: Sequence[Example],
        old: Sequence[Example],  # noqa: ARG002
    ) -> Iterator[list[Example]]:
        batches = by_length(fresh, self._batch_size, self._rng)
        self._rng.shuffle(batches)
        return iter(batches)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        from torch import cat

        logits = task.logits(model, batch)
        wanted = cat([self._answered[row.text] for row in batch])
        weights = weights_of(batch, task.pieces(model, batch), logits)
        return cross_entropy(logits, task.columns(model, batch), weights) + softened(logits, wanted)

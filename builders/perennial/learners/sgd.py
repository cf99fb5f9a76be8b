"""One row, one step: θ ← θ − η∇L, the textbook's online update, without momentum or memory. It is here to be
compared with.

The training loop's schedule of the rate, bound on the gradient and decay of the weights hold for it as for
all learners. A step is one row: where `max_steps` is less than the rows of all epochs it sees a part of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Sgd"]


class Sgd:
    optimizer = "SGD"

    def __init__(self, batch_size: int, seed: int) -> None:  # noqa: ARG002  # a batch is one row
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
        return ([row] for row in self._rng.sample(fresh, len(fresh)))

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        return task.loss(model, batch)

"""Learns fresh rows among old ones, so that what was learned before is not forgotten: half and half, or of a
small memory each row as often as each fresh one. (Of 5 % of a stream half a batch was twice the time, and no
more was kept.)

Experience replay with a reservoir: Chaudhry et al., "On tiny episodic memories in continual learning",
arXiv:1902.10486.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._rehearsal import as_often
from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Replay"]


class Replay:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self, task: Trainable, model: Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        pass

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        return as_often(fresh, old, self._batch_size, self._rng)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        return task.loss(model, batch)

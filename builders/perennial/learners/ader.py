"""Learns the fresh rows, and holds the answers to remembered ones to what the serving release answers, the
less the more there is fresh.

Adaptively distilled exemplar replay: Mi, Lin and Faltings, arXiv:2007.12000, which weighs the distillation by
the square root of exemplars over fresh rows. Its exemplars are an item's in proportion to how often it is
wanted; so are those of a uniform memory, which is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._frozen import answers
from perennial.learners._rehearsal import as_often, still_true
from perennial.losses import softened
from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Ader"]

BASE = 0.8
"""What the paper found best."""


class Ader:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self, task: Trainable, model: Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        exemplars = still_true(fresh, old)
        self._answered = answers(task, model, exemplars)
        self._weight = BASE * math.sqrt(len(exemplars) / max(1, len(fresh)))

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        return as_often(fresh, old, self._batch_size, self._rng)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        from torch import cat

        new = [row for row in batch if row.text not in self._answered]
        old = [row for row in batch if row.text in self._answered]
        loss = task.loss(model, new) if new else 0.0
        if old:
            wanted = cat([self._answered[row.text] for row in old])
            loss = loss + self._weight * softened(task.logits(model, old), wanted)
        return loss

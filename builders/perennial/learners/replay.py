"""Learns fresh rows among old ones, half and half, so that what was learned before is not forgotten.

Experience replay with a reservoir: Chaudhry et al., "On tiny episodic memories in continual learning",
arXiv:1902.10486. How the old rows were chosen is `perennial.memory`'s to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._batching import by_length
from perennial.protocols import Trainable
from perennial.split import fingerprint
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Replay"]


class Replay:
    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        """Each fresh row once, and in each batch as many old ones; fresh alone where nothing is old."""
        corrected = {fingerprint(row.text) for row in fresh}
        still_true = [row for row in old if fingerprint(row.text) not in corrected]
        half = max(1, self._batch_size // 2) if still_true else self._batch_size
        batches = by_length(fresh, half, self._rng)
        if still_true:
            replayed = by_length(self._drawn(still_true, len(fresh)), half, self._rng)
            batches = [new + known for new, known in zip(batches, replayed, strict=True)]
        self._rng.shuffle(batches)
        return iter(batches)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        return task.loss(model, batch)

    def after(self, model: Module) -> None:
        pass

    def _drawn(self, old: list[Example], count: int) -> list[Example]:
        """`count` rows: all of `old` as often as they fit, then a random part of them."""
        rounds, rest = divmod(count, len(old))
        return old * rounds + self._rng.sample(old, rest)

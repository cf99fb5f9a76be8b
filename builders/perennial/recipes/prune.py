"""A narrower student: in each layer the attention heads and neurons that the loss hangs on most. Whole rows
and columns of its matrices are gone, so that every engine gains. What matters is the task's to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from perennial.protocols import Compressible
from perennial.types import Array, Example

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["Prune"]

_SHARES = {"half": 0.5, "quarter": 0.25}
_JUDGED_ON = 512
"""Examples, at most."""


class Prune:
    sizes = tuple(_SHARES)
    learning_rate = 5e-4
    steps = 400

    def student(self, task: Compressible, teacher: Module, size: str, examples: Sequence[Example]) -> Module:
        heads, neurons = task.importance(teacher, examples[:_JUDGED_ON])
        share = _SHARES[size]
        return task.narrower(
            teacher, [most(layer, share) for layer in heads], [most(layer, share) for layer in neurons]
        )


def most(importance: Array, share: float) -> list[int]:
    """The places of the most important ones, at least one, in their order."""
    count = max(1, round(share * len(importance)))
    return sorted(np.argsort(-importance, kind="stable")[:count].tolist())

"""A narrower student: in each layer the attention heads and neurons that the loss hangs on most. Whole rows
and columns of its matrices are gone, so that every engine gains. What matters is the task's to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perennial.recipes._importance import JUDGED_ON, most
from perennial.task_protocol import Compressible
from perennial.types import Example

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["Prune"]

_SHARES = {"half": 0.5, "quarter": 0.25}


class Prune:
    sizes = tuple(_SHARES)
    learning_rate = 5e-4
    steps = 400

    def student(self, task: Compressible, teacher: Module, size: str, examples: Sequence[Example]) -> Module:
        heads, neurons = task.importance(teacher, examples[:JUDGED_ON])
        share = _SHARES[size]
        return task.narrower(
            teacher, [most(layer, share) for layer in heads], [most(layer, share) for layer in neurons]
        )

"""A student of the same shape, two of whose weights in every four are 0: sparse tensor cores multiply such
matrices at up to twice the rate (Mishra et al., arXiv:2104.08378), where TensorRT builds the engine. On a
processor it gains nothing. A rebuild trains its weights as any others, and fills the zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perennial.task_protocol import Compressible
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Sparsity"]


class Sparsity:
    sizes = ("2-of-4",)
    learning_rate = 2e-4
    steps = 300

    def student(
        self,
        task: Compressible,
        teacher: Module,
        size: str,  # noqa: ARG002
        examples: Sequence[Example],  # noqa: ARG002
    ) -> Module:
        student = task.shallower(teacher, range(task.depth(teacher)))
        for weight in task.matrices(student):
            if weight.shape[1] % 4 == 0:
                _hold(weight)
        return student


def _hold(weight: Tensor) -> None:
    """Zero the two smaller of every four weights along the inputs, and let no gradient reach them: without
    one AdamW leaves a zero where it is."""
    fours = weight.data.abs().unflatten(1, (-1, 4))
    kept = fours.argsort(dim=2, descending=True, stable=True)[..., :2]
    mask = fours.new_zeros(fours.shape).scatter(2, kept, 1.0).flatten(1)
    weight.data *= mask
    weight.register_hook(lambda slope: slope * mask)

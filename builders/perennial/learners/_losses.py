"""The parts that losses are made of, where a learner needs more than its task's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURE = 2.0


def cross_entropy(logits: Tensor, columns: Tensor, rows: Sequence[Example]) -> Tensor:
    """Of each row times its weight, averaged: logits (rows, labels), the right columns (rows,)."""
    import torch

    weights = torch.tensor([row.weight for row in rows], device=logits.device)
    costs: Tensor = torch.nn.functional.cross_entropy(logits, columns, reduction="none") * weights
    return costs.mean()


def softened(logits: Tensor, wanted: Tensor) -> Tensor:
    """The divergence of both (rows, labels) at the temperature, times its square, which keeps the size of the
    slope (Hinton, Vinyals and Dean, arXiv:1503.02531)."""
    from torch.nn.functional import kl_div, log_softmax, softmax

    said, meant = log_softmax(logits / TEMPERATURE, -1), softmax(wanted / TEMPERATURE, -1)
    divergence: Tensor = kl_div(said, meant, reduction="batchmean") * TEMPERATURE**2
    return divergence

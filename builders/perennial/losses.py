"""The parts that the losses of tasks and of learners are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perennial.types import UNTOLD, Example

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURE = 2.0


def cross_entropy(logits: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """Of each piece times its weight, averaged over those that are told: logits (pieces, classes), the right
    columns and weights (pieces,)."""
    import torch

    costs: Tensor = torch.nn.functional.cross_entropy(logits, columns, reduction="none", ignore_index=UNTOLD)
    return (costs * weights).sum() / (columns != UNTOLD).sum().clamp(min=1)


def weights_of(rows: Sequence[Example], pieces: Sequence[int], like: Tensor) -> Tensor:
    """(pieces of all rows,), where the tensor `like` is."""
    import torch

    counts = torch.tensor(pieces, device=like.device)
    return torch.tensor([row.weight for row in rows], device=like.device).repeat_interleave(counts)


def softened(logits: Tensor, wanted: Tensor) -> Tensor:
    """The divergence of both (rows, labels) at the temperature, times its square, which keeps the size of the
    slope (Hinton, Vinyals and Dean, arXiv:1503.02531)."""
    from torch.nn.functional import kl_div, log_softmax, softmax

    said, meant = log_softmax(logits / TEMPERATURE, -1), softmax(wanted / TEMPERATURE, -1)
    divergence: Tensor = kl_div(said, meant, reduction="batchmean") * TEMPERATURE**2
    return divergence

"""Replay that holds the memory's rows to the answers of the serving release as well as to their labels, and
keeps what is fresh from pushing other labels down.

Dark experience replay ++: Buzzega et al., arXiv:2004.07211, with its α and β; one draw of the memory serves
both terms. There a row's logits are those of the time when it was remembered. Here they are the serving
release's, computed once before training: a memory that keeps texts and labels alone has no others.

ER-ACE: Caccia et al., arXiv:2104.05025. The fresh half of a batch chooses among its own labels alone, so that
it moves no label that it does not show; the old half chooses among all. Without old rows there is nothing to
shield, and a batch is learned as any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._frozen import answers
from perennial.learners._rehearsal import evenly, rehearsed, still_true
from perennial.losses import cross_entropy, weights_of
from perennial.task_protocol import Trainable
from perennial.types import UNTOLD, Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Derpp"]

ALPHA, BETA = 0.3, 0.5
"""How much the old rows' answers count, and how much their labels."""


class Derpp:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self,
        task: Trainable,
        model: Module,
        fresh: Sequence[Example],
        old: Sequence[Example],
    ) -> None:
        self._answered = answers(task, model, still_true(fresh, old))

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        return rehearsed(fresh, old, self._batch_size, self._rng, evenly)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        from torch import cat
        from torch.nn.functional import mse_loss

        new = [row for row in batch if row.text not in self._answered]
        old = [row for row in batch if row.text in self._answered]
        if not old:
            return task.loss(model, batch)
        both = [*new, *old]
        logits, columns = task.logits(model, both), task.columns(model, both)
        weights = weights_of(both, task.pieces(model, both), logits)
        wanted = cat([self._answered[row.text] for row in old])
        fresh, known = slice(len(logits) - len(wanted)), slice(len(logits) - len(wanted), None)
        return (
            cross_entropy(_among_shown(logits[fresh], columns[fresh]), columns[fresh], weights[fresh])
            + ALPHA * mse_loss(logits[known], wanted)
            + BETA * cross_entropy(logits[known], columns[known], weights[known])
        )


def _among_shown(logits: Tensor, columns: Tensor) -> Tensor:
    """The logits (pieces, classes), without the classes that are right for no piece."""
    import torch

    absent = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
    absent[columns[columns != UNTOLD]] = False
    return logits.masked_fill(absent, -torch.inf)

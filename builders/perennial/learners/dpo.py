"""Replay that also learns what is preferred: of two answers to a text, that the wanted one becomes likelier
than the rejected one, against how likely the serving release holds both.

DPO: Rafailov et al., arXiv:2305.18290, beside the own loss of what is wanted, without which that becomes
less likely as well, if less so (Pang et al., arXiv:2404.19733). What nobody compared is learned as by replay.
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

__all__ = ["Dpo"]

BETA = 0.1
"""How far the answers may move from the serving release's, as in the paper: less is farther."""


class Dpo:
    optimizer = "AdamW"

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rng = Random(seed)

    def prepare(
        self, task: Trainable, model: Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        import torch

        model.eval()
        with torch.no_grad():
            found = {_key(row): task.compared(model, [row])[1] for row in (*fresh, *old)}
        self._serving = {key: margins[0] for key, margins in found.items() if len(margins)}

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        return as_often(fresh, old, self._batch_size, self._rng)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        import torch
        from torch.nn.functional import logsigmoid

        own, margins = task.compared(model, batch)
        known = [row for row in batch if _key(row) in self._serving]
        if not known:
            return own
        moved = margins - torch.stack([self._serving[_key(row)] for row in known])
        weights = torch.tensor([row.weight for row in known], device=moved.device)
        return own - (logsigmoid(BETA * moved) * weights).sum() / len(batch)


def _key(row: Example) -> tuple[str, str]:
    return row.text, row.label

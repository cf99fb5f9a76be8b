"""Learns what is wanted, and of two answers to a text which one; and holds what the model says to remembered
texts, token by token, to what the serving release says.

DPO: Rafailov et al., arXiv:2305.18290, beside the own loss of what is wanted, without which that becomes
less likely as well, if less so (Pang et al., arXiv:2404.19733). What is remembered is no label but a whole
distribution (Li and Hoiem, Learning without forgetting, arXiv:1606.09282, on the memory's texts): of a text
that the model itself drew, the token that came is one of many that might have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from perennial.learners._rehearsal import evenly, rehearsed, still_true
from perennial.task_protocol import Trainable
from perennial.types import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Dpo"]

BETA = 0.1
"""How far the answers may move from the serving release's, as in the paper: less is farther."""
OLD, HOLD = 0.375, 4.0
"""The share of a batch that is remembered, and how much a row of it counts beside a fresh one."""
LIKELIEST = 64
"""Tokens of a place that are told apart; all others are one. A vocabulary's shares of 100 texts would take a
gigabyte."""


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
            margins = {_key(row): task.compared(model, [row])[1] for row in fresh}
            self._margins = {key: found[0] for key, found in margins.items() if len(found)}
            known = [row for row in still_true(fresh, old) if sum(task.pieces(model, [row]))]
            self._said = {_key(row): _Said.of(task.logits(model, [row])) for row in known}

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        return rehearsed(fresh, old, self._batch_size, self._rng, evenly, OLD)

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor:
        new = [row for row in batch if _key(row) not in self._said]
        old = [row for row in batch if _key(row) in self._said]
        loss = self._learned(task, model, new) if new else 0.0
        if old:
            said = [self._said[_key(row)] for row in old]
            parts = task.logits(model, old).split([len(one.tokens) for one in said])
            loss = loss + HOLD * sum(one.apart(part) for one, part in zip(said, parts, strict=True))
        return loss / len(batch)

    def _learned(self, task: Trainable, model: Module, rows: Sequence[Example]) -> Tensor:
        """The sum over rows."""
        import torch
        from torch.nn.functional import logsigmoid

        own, margins = task.compared(model, rows)
        compared = [row for row in rows if _key(row) in self._margins]
        if not compared:
            return own * len(rows)
        moved = margins - torch.stack([self._margins[_key(row)] for row in compared])
        weights = torch.tensor([row.weight for row in compared], device=moved.device)
        return own * len(rows) - (logsigmoid(BETA * moved) * weights).sum()


@dataclass(frozen=True)
class _Said:
    """What a release says at each place of a text: the `tokens` that it holds likeliest, and the logarithms
    of how likely, those of all others last: (places, tokens) and (places, tokens + 1)."""

    tokens: Tensor
    shares: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> _Said:
        tokens = logits.topk(min(LIKELIEST, logits.shape[-1])).indices
        return cls(tokens, _shares(logits, tokens))

    def apart(self, logits: Tensor) -> Tensor:
        """How far these logits (places, vocabulary) are from it: the divergence, averaged over places."""
        return (self.shares.exp() * (self.shares - _shares(logits, self.tokens))).sum(-1).mean()


def _shares(logits: Tensor, tokens: Tensor) -> Tensor:
    import torch

    likeliest = logits.log_softmax(-1).gather(-1, tokens)
    others = (1.0 - likeliest.exp().sum(-1, keepdim=True)).clamp(min=1e-6).log()
    return torch.cat([likeliest, others], -1)


def _key(row: Example) -> tuple[str, str]:
    return row.text, row.label

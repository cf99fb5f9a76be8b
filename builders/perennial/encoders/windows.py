"""A network as it is served where each token is read: of texts in windows, which come end to end.

A row is then as long as its text needs, and no engine need know of windows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perennial.encoders.network import Served
from perennial.encoders.tokens import MAX_WINDOWS


def served(model: Served) -> nn.Module:
    return model if model.whole else Windowed(model)


class Windowed(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    """Ids and mask (texts, tokens of all windows), each window of `max_tokens` but the last, to logits and
    features (texts, tokens of all windows, …)."""

    def __init__(self, model: Served) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        texts, tokens = input_ids.shape

        def numbers(until: Any) -> Tensor:
            return torch.arange(until, device=input_ids.device)

        # By tensors rather than by shapes, of which a trace would hold that all are such as the one it saw.
        length, most = torch.ones_like(input_ids[0]).sum(), self.model.tokens.max_tokens
        width = length.clamp(max=most)
        count = (length + width - 1) // width
        row, column = numbers(texts * _size(count, 1, MAX_WINDOWS)), numbers(_size(width, 2, most))
        place = row[:, None] % count * width + column  # (windows, width): the token that stands there
        whose = row[:, None] // count, place.clamp(max=tokens - 1)
        inside = (place < tokens).to(input_ids.dtype)
        logits, features = self.model(input_ids[whose] * inside, attention_mask[whose] * inside)
        text, token = numbers(texts)[:, None], numbers(tokens)
        stands = text * count + token // width, token % width  # each (texts, tokens)
        return logits[stands], features[stands]


def _size(value: Tensor, least: int, most: int) -> Any:
    """As a number of which a trace knows that it is within these bounds, and nothing else."""
    size = value.item()
    torch._check(size >= least)
    torch._check(size <= most)
    return size

"""What a network makes of whole texts, without learning: the mean of each one's last hidden states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch.nn import Module

from perennial.task_protocol import Compressible
from perennial.types import Array

AT_ONCE = 64
"""Texts run together, of like length."""

Track = Callable[[Sequence[int]], Iterable[int]]
"""Goes through where the batches start, and shows how far it has come."""


def means(task: Compressible, model: Module, texts: Sequence[str], track: Track = iter) -> Array:
    """(texts, hidden), float32; the model is left in the mode for answering."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found: dict[int, Array] = {}
    for start in track(range(0, len(order), AT_ONCE)):
        some = order[start : start + AT_ONCE]
        with torch.inference_mode():
            _, hidden, tokens = task.states(model, [texts[place] for place in some])
        found.update(zip(some, (part.mean(0).numpy() for part in hidden.split(tokens)), strict=True))
    return np.stack([found[place] for place in range(len(texts))])

"""Weights between those that training began with, the serving release's, and those that it came to: fewer
right answers turn wrong, and what was learned is mostly kept.

WiSE-FT: Wortsman et al., arXiv:2109.01903.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor
from torch.nn import Module

from perennial.task_protocol import Trainable
from perennial.types import Example

Weights = Mapping[str, Tensor]
SHARES = (0.0, 0.25, 0.5)
"""What "auto" chooses among: in a candidate that is mostly what it was before, no gate would see a gain."""


def weights(model: Module) -> Weights:
    """A copy, which stays as it is while the model learns."""
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def go_back(
    task: Trainable,
    model: Module,
    start: Weights,
    share: float | Literal["auto"],
    validation: Sequence[Example],
    metric: str = "macro_f1",
) -> tuple[float, Mapping[str, float]]:
    """Move the model this share of the way back to `start`; the share, and the metrics of what it is now.
    "auto" takes the share with the best `metric`, of equals the largest."""
    learned = weights(model)
    scores = {}
    for one in SHARES if share == "auto" else (share,):
        model.load_state_dict(_mixed(learned, start, one))
        scores[one] = task.score(model, validation).metrics
    best = max(scores, key=lambda one: (scores[one][metric], one))
    model.load_state_dict(_mixed(learned, start, best))
    return best, scores[best]


def _mixed(learned: Weights, start: Weights, share: float) -> Weights:
    """Whole numbers, such as positions, are the same in both."""
    return {
        name: weight.lerp(start[name], share) if weight.is_floating_point() else weight
        for name, weight in learned.items()
    }

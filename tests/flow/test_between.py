"""Weights between two networks, and which of them are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from perennial import plugins
from perennial.jobs.between import go_back, weights
from tiny import LABELS, tiny_examples

ROWS = tiny_examples(12)


@pytest.fixture
def task() -> Any:
    return plugins.get("tasks/classify", "train")()


@pytest.fixture
def model(task: Any, tiny_encoder: Path) -> Any:
    return task.load(tiny_encoder, LABELS)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_is_so_far_back(task: Any, model: Any, share: float) -> None:
    start = weights(model)
    for weight in model.parameters():
        weight.data += 1.0
    found, _ = go_back(task, model, start, share, ROWS)
    assert found == share
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.data, start[name] + (1.0 - share))


def test_auto_takes_the_share_that_answers_best_and_of_equals_the_largest(
    task: Any, model: Any, tiny_encoder: Path
) -> None:
    """The answer is the label with the largest bias: 0 as learned, 1 as it began."""
    for bias, right, wanted in ((2.0, 0, 0.25), (2.0, 1, 0.5), (4.0, 0, 0.0)):
        start = task.load(tiny_encoder, LABELS)
        start.head.bias.data = torch.tensor([0.0, bias, 0.0])
        model.head.bias.data = torch.tensor([1.0, 0.0, 0.0])
        rows = [row for row in ROWS if row.label == LABELS[right]]
        share, metrics = go_back(task, model, weights(start), "auto", rows, "accuracy")
        assert (share, metrics["accuracy"]) == (wanted, 1.0)
        torch.testing.assert_close(model.head.bias.data, torch.tensor([1 - wanted, bias * wanted, 0.0]))

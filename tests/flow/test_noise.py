"""Which rows are taken for mistakes, by a network that knows nothing yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perennial import plugins
from perennial.jobs.noise import mistaken
from perennial.types import Example
from tiny import LABELS, tiny_examples

ROWS = tiny_examples(240)
FLIPPED = range(0, 120, 10)


@pytest.fixture
def network(tiny_encoder: Path) -> tuple[Any, Any]:
    task = plugins.get("tasks/classify", "train")()
    return task, task.load(tiny_encoder, LABELS)


def test_most_planted_mistakes_are_found_and_few_others(network: tuple[Any, Any]) -> None:
    fresh = [
        replace(row, label=another(row.label)) if n in FLIPPED else row for n, row in enumerate(ROWS[:120])
    ]
    found = mistaken(*network, fresh, ROWS[120:], str, seed=0, threads=1)
    planted = {fresh[number] for number in FLIPPED}
    caught = len(planted.intersection(found))
    assert caught >= len(planted) / 2
    assert caught >= len(found) / 2, "and one row in ten is planted"
    assert (
        found
        == [row for row in fresh if row in found]
        == mistaken(*network, fresh, ROWS[120:], str, seed=0, threads=1)
    )


def test_a_label_with_few_rows_and_a_remembered_row_are_never_taken_for_a_mistake(
    network: tuple[Any, Any],
) -> None:
    rare = [Example(f"{row.text} again", "rare") for row in ROWS[:4]]
    old = [
        replace(row, label=another(row.label)) if n in FLIPPED else row for n, row in enumerate(ROWS[:120])
    ]
    assert set(mistaken(*network, [*rare, *ROWS[120:]], old, str, seed=0, threads=1)) <= set(ROWS[120:])
    assert mistaken(*network, rare, [], str, seed=0, threads=1) == []


def another(label: str) -> str:
    return LABELS[(LABELS.index(label) + 1) % len(LABELS)]

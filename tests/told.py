"""Rows for gates to judge by, and what a predictor is told to say of them."""

from __future__ import annotations

from random import Random
from typing import Any

from perennial import plugins
from perennial.types import Example
from tiny import LABELS

Says = dict[str, str]


def gate(name: str, **told: Any) -> Any:
    return plugins.get("gates", name)(**told)


def examples(name: str, count: int) -> list[Example]:
    return [Example(f"{name} {number}", LABELS[number % 3]) for number in range(count)]


def right(rows: list[Example]) -> Says:
    return {row.text: row.label for row in rows}


def wrong(label: str) -> str:
    return LABELS[(LABELS.index(label) + 1) % 3]


def right_with_chance(rows: list[Example], chance: float, rng: Random) -> Says:
    return {row.text: row.label if rng.random() < chance else wrong(row.label) for row in rows}


def wrong_first(rows: list[Example], count: int) -> Says:
    return right(rows) | {row.text: wrong(row.label) for row in rows[:count]}

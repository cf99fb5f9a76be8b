"""Splits rows by their text, so that no text stands in two sets, in this run or in any other.

A text's place depends on nothing but the text: with the same shares, what was held out once is held out for
ever, from every later release too. Spacing and case make no difference, as they make none to a reader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from perennial.types import Example

HELD_OUT = 0.25
"""The share of feedback that is not learned, for a gate to judge by."""
LEAST_TEXTS = 30
"""Of fewer different texts no gate says anything."""
ENOUGH_ROWS = round(2 * LEAST_TEXTS / HELD_OUT)
"""Of feedback on so many texts fewer than `LEAST_TEXTS` are held out one time in two million; on half as
many, almost every second time."""


@dataclass(frozen=True)
class Split:
    """`train` is learned, `validation` says when to stop, `held_out` is for gates alone."""

    train: list[Example]
    validation: list[Example]
    held_out: list[Example]


def split(rows: Sequence[Example], validation: float, held_out: float) -> Split:
    """The rows of each set, in their order; `validation` and `held_out` are shares of all texts.

    A share is met on average: 20 % of 500 texts is 100 ± 18. Growing `validation` moves no text out of
    `held_out`.
    """
    if min(validation, held_out) < 0 or validation + held_out > 1:
        raise ValueError(f"shares of {validation} and {held_out} do not fit into [0, 1]; lower one")
    sets = Split([], [], [])
    for row in rows:
        at = place(row.text)
        if at < held_out:
            sets.held_out.append(row)
        elif at < held_out + validation:
            sets.validation.append(row)
        else:
            sets.train.append(row)
    return sets


def place(text: str) -> float:
    """Where the text stands in [0, 1), spread evenly over texts."""
    return int.from_bytes(fingerprint(text)[:6], "big") / 2**48


def fingerprint(text: str) -> bytes:
    """The same 32 bytes for texts that differ in spacing or case alone."""
    plain = " ".join(text.split()).casefold()
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()

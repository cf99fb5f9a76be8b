"""What learns from a stream of features, (rows, size) and of length 1: told rows in order, asked at any time.

Leaves streams to `_streams`, and what an answer is worth to `_course`.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from typing import Protocol

from perennial.types import Array


@dataclass(frozen=True)
class Shape:
    """`memory` is how many rows a method may keep that keeps rows."""

    size: int
    labels: int
    memory: int
    seed: int


class Method(Protocol):
    def learn(self, rows: Array, features: Array, labels: Array) -> None:
        """`rows` (rows,) are the names by which they may be taken back."""

    def forget(self, rows: Array, features: Array, labels: Array) -> None: ...

    def answer(self, features: Array) -> Array:
        """Probabilities (rows, labels)."""

    def clock(self) -> float:
        """Seconds of CPU that whatever learns has used."""

    def kept(self) -> int:
        """Bytes that it needs to go on learning."""


class Here:
    """A method of this process: all that it knows is in its attributes."""

    def clock(self) -> float:
        return time.process_time()

    def kept(self) -> int:
        return len(pickle.dumps(self))

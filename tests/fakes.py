"""The few parts that tests make up, where a real one would be slow or could not be made to misbehave."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from perennial.errors import PerennialError
from perennial.pipeline import Pipeline
from perennial.server.control import Figures
from perennial.task_protocol import Codec
from perennial.types import Array, Tensors
from tiny import LABELS


class FakeControl:
    """A server that loads anything and says `now` of every release, but for its `faults`.

    Those are taken one a call: an error to raise, or None.
    """

    def __init__(self) -> None:
        self.now = Figures(0, 0, None)
        self.faults: deque[PerennialError | None] = deque()

    @contextmanager
    def opened(self) -> Iterator[FakeControl]:
        """What a workshop gives as `control()`."""
        yield self

    def figures(self, model: str, version: int) -> Figures:
        self._take()
        return self.now

    def load(self, model: str) -> None:
        self._take()

    def models(self) -> set[str]:
        return set()

    def wait_ready(self, model: str, version: int) -> None:
        self._take()

    def _take(self) -> None:
        if self.faults and (fault := self.faults.popleft()):
            raise fault


class FakeSession:
    """An engine that is never asked: `FakePredictor` knows the answers."""

    def run(self, tensors: Tensors) -> Tensors:
        raise AssertionError("a fake predictor asked its engine")

    def close(self) -> None:
        pass


class FakePredictor(Pipeline):
    """The real codec over logits that are told: `says` maps a text to the label that it is answered with.

    Every other text gets NaN. `off_by` shifts all logits but the winner's; an answer takes `seconds`.
    """

    def __init__(
        self, codec: Codec, says: Mapping[str, str], *, off_by: float = 0.0, seconds: float = 0.0
    ) -> None:
        super().__init__(codec, FakeSession())
        self._says = says
        self._seconds = seconds
        self._logits = {label: _logits(number, off_by) for number, label in enumerate(LABELS)}

    def outputs(self, texts: Sequence[str]) -> list[Tensors]:
        time.sleep(self._seconds * len(texts))
        whole = np.zeros((1, 1), dtype=np.bool_)
        nothing = np.full((1, len(LABELS)), np.nan, dtype=np.float32)
        return [
            {"logits": self._logits.get(self._says.get(text, ""), nothing), "TRUNCATED": whole}
            for text in texts
        ]


def _logits(winner: int, off_by: float) -> Array:
    logits = np.full((1, len(LABELS)), off_by, dtype=np.float32)
    logits[0, winner] = 3.0
    return logits

"""The textbook and the ways of continual learning, each on the same linear softmax head."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from perennial.types import Array
from perennial_perf.benches._methods import Here, Shape


class SoftmaxHead:
    """What the gradient methods share: standardised features, a linear head, and a step down the slope."""

    def __init__(self, shape: Shape, rate: float) -> None:
        self._scale, self._rate = shape.size**0.5, rate
        self._labels = np.eye(shape.labels)
        self.weights = np.zeros((shape.size + 1, shape.labels))

    def inputs(self, features: Array) -> Array:
        """(rows, size + 1), at a variance of 1, where a rate means the same for every size."""
        return np.column_stack([features * self._scale, np.ones(len(features))])

    def logits(self, inputs: Array) -> Array:
        return np.asarray(inputs @ self.weights)

    def slope(self, inputs: Array, labels: Array, among: Array | None = None) -> Array:
        """Of the mean cross entropy by logits, (rows, labels); `among` (labels,) masks all other labels."""
        logits = self.logits(inputs)
        if among is not None:
            logits = np.where(among, logits, -np.inf)
        return np.asarray((softmax(logits, axis=1) - self._labels[labels]) / len(labels))

    def step(self, inputs: Array, slope: Array) -> None:
        self.weights -= self._rate * inputs.T @ slope

    def answer(self, features: Array) -> Array:
        return np.asarray(softmax(self.logits(self.inputs(features)), axis=1))


class Sgd(Here):
    """One row, one step, as in textbooks."""

    RATE = 0.0003

    def __init__(self, shape: Shape) -> None:
        self._head = SoftmaxHead(shape, self.RATE)

    def learn(self, rows: Array, features: Array, labels: Array) -> None:  # noqa: ARG002
        inputs = self._head.inputs(features)
        for at in range(len(labels)):
            one = slice(at, at + 1)
            self._head.step(inputs[one], self._head.slope(inputs[one], labels[one]))

    def forget(self, rows: Array, features: Array, labels: Array) -> None:
        """It cannot."""

    def answer(self, features: Array) -> Array:
        return self._head.answer(features)


class Reservoir:
    """A uniform sample of all rows told so far (Vitter, 1985), with the logits that they had then."""

    def __init__(self, shape: Shape) -> None:
        self._rng = np.random.default_rng(shape.seed)
        self._seen = 0
        self.rows = np.full(shape.memory, -1)
        self.inputs = np.zeros((shape.memory, shape.size + 1), np.float32)
        self.labels = np.zeros(shape.memory, np.int64)
        self.logits = np.zeros((shape.memory, shape.labels), np.float32)

    def keep(self, rows: Array, inputs: Array, labels: Array, logits: Array) -> None:
        for at, row in enumerate(rows):
            self._seen += 1
            slot = self._seen - 1 if self._seen <= len(self.rows) else int(self._rng.integers(self._seen))
            if slot < len(self.rows):
                self.rows[slot], self.labels[slot] = row, labels[at]
                self.inputs[slot], self.logits[slot] = inputs[at], logits[at]

    def drop(self, rows: Array) -> None:
        self.rows[np.isin(self.rows, rows)] = -1

    def drawn(self, count: int) -> Array:
        """Slots of `count` rows, or of as many as there are."""
        full = np.flatnonzero(self.rows >= 0)
        return np.asarray(self._rng.choice(full, min(count, len(full)), replace=False))


class Replay(Here):
    """Fresh rows and as many old ones in each step (Chaudhry et al., arXiv:1902.10486)."""

    RATE, BATCH = 0.003, 10

    def __init__(self, shape: Shape) -> None:
        self._head, self._memory = SoftmaxHead(shape, self.RATE), Reservoir(shape)

    def learn(self, rows: Array, features: Array, labels: Array) -> None:
        inputs = self._head.inputs(features)
        for start in range(0, len(rows), self.BATCH):
            some = slice(start, start + self.BATCH)
            logits = self._head.logits(inputs[some])
            self._step(inputs[some], labels[some], self._memory.drawn(self.BATCH))
            self._memory.keep(rows[some], inputs[some], labels[some], logits)

    def forget(self, rows: Array, features: Array, labels: Array) -> None:  # noqa: ARG002
        """Memory can; weights cannot."""
        self._memory.drop(rows)

    def answer(self, features: Array) -> Array:
        return self._head.answer(features)

    def _step(self, inputs: Array, labels: Array, old: Array) -> None:
        every = np.concatenate([inputs, self._memory.inputs[old]])
        self._head.step(every, self._head.slope(every, np.concatenate([labels, self._memory.labels[old]])))


class Derpp(Replay):
    """Dark experience replay ++ (Buzzega et al., arXiv:2004.07211): old rows keep their logits and labels;
    with ER-ACE (Caccia et al., arXiv:2104.05025): fresh rows say nothing of labels that are not
    among them."""

    RATE, ALPHA, BETA = 0.01, 0.3, 0.5

    def _step(self, inputs: Array, labels: Array, old: Array) -> None:
        head, memory = self._head, self._memory
        among = np.isin(np.arange(head.weights.shape[1]), labels)
        head_slope = head.slope(inputs, labels, among if len(old) else None)
        if not len(old):
            return head.step(inputs, head_slope)
        drift = head.logits(memory.inputs[old]) - memory.logits[old]
        pull = self.ALPHA * 2 * drift / drift.size
        pull += self.BETA * head.slope(memory.inputs[old], memory.labels[old])
        return head.step(np.concatenate([inputs, memory.inputs[old]]), np.concatenate([head_slope, pull]))

"""The head: what corrections add to a release's logits, linear in the features that its engine gives.

    logits = the engine's logits + [features, 1] @ head

Class-weighted ridge regression in closed form, centred on the release's own classifier: rows of feedback say
where it errs, and the rows that it was taught say where it must not move. After analytic continual learning
(ACIL: Zhuang et al., arXiv:2205.14922; RanPAC: McDonnell et al., arXiv:2307.02251), whose statistics are sums
over rows: so nothing is forgotten, no order matters, and a row is taken out by subtracting it.

Exact, not approximately so: features, residuals and trust are kept as multiples of a power of two, and in
float64 the sums of their products are then exact for some hundred thousand rows of each label, whatever the
order. The same rows give the same bits. Pure: knows arrays, and neither texts nor stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from perennial.types import Array

UNIT = 2.0**-14
"""What int16 counts in features, which are of length 1, and in residuals, which are cut to ±2."""
TRUST_UNIT = 2.0**-6
LOOK_EVERY_S = 0.05
"""How often whoever answers looks for a newer head."""
_MOST = 2**15 - 1


@dataclass(frozen=True)
class Evidence:
    """Rows as a head sees them: `features` (rows, size) and `residuals` (rows, outputs), int16 in `UNIT`s;
    `labels` (rows,) in column numbers; `trust` (rows,) in [0, 1].

    A residual is what the release lacks. Of a classifier: the label, as 1 for it and 0 for the others, less
    what the logits say, both centred; then it has as many outputs as labels. Of rows that hold a head in
    place it is 0.
    """

    features: Array
    residuals: Array
    labels: Array
    trust: Array

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: Array | Sequence[int]) -> Evidence:
        chosen = np.asarray(places, np.int64) if isinstance(places, Sequence) else places
        return Evidence(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def held(self) -> Evidence:
        """The same rows, which now say that the release is right: it must not move there."""
        return Evidence(self.features, np.zeros_like(self.residuals), self.labels, self.trust)


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The rows of all parts, in order; at least one part."""
    return Evidence(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Evidence))
    )


def evidence(features: Array, logits: Array, labels: Array, trust: Array, slope: float) -> Evidence:
    """From what an engine says of rows: `features` (rows, size), `logits` (rows, labels). `slope` is how much
    of a label one unit of logits is worth."""
    centred = logits.astype(np.float64) - logits.mean(axis=1, keepdims=True, dtype=np.float64)
    count = logits.shape[1]
    wanted = np.eye(count)[labels] - 1 / count
    return of_residuals(features, wanted - slope * centred, labels, trust)


def of_residuals(features: Array, residuals: Array, labels: Array, trust: Array) -> Evidence:
    """From numbers: `features` (rows, size) of length 1, `residuals` (rows, outputs) in [-2, 2]."""
    return Evidence(_fixed(features), _fixed(residuals), labels, trusted(trust))


def trusted(trust: Array) -> Array:
    """Trust in whole `TRUST_UNIT`s, without which sums would not be exact."""
    return np.asarray(np.rint(np.asarray(trust, np.float64) / TRUST_UNIT) * TRUST_UNIT)


def _fixed(values: Array) -> Array:
    units = np.rint(np.asarray(values, np.float64) / UNIT)
    return np.asarray(np.clip(units, -_MOST, _MOST).astype(np.int16))


class Statistics:
    """Sums over rows, label by label: all that a head is made of. 8 bytes × labels × size² of memory."""

    def __init__(self, size: int, labels: int, outputs: int) -> None:
        self._grams = np.zeros((labels, size + 1, size + 1))
        self._moments = np.zeros((labels, size + 1, outputs))
        self._counts = np.zeros(labels)

    def add(self, rows: Evidence) -> None:
        self._sum(rows, 1.0)

    def remove(self, rows: Evidence) -> None:
        """As if they had never been added, to the last bit."""
        self._sum(rows, -1.0)

    def without(self, other: Statistics) -> Statistics:
        """A copy without the rows of `other`, which are among these."""
        rest = object.__new__(Statistics)
        rest._grams = self._grams - other._grams
        rest._moments = self._moments - other._moments
        rest._counts = self._counts - other._counts
        return rest

    def solve(
        self, ridge: float, balance: float, held: Statistics | None = None, hold: float = 1.0
    ) -> Solution:
        """The head of these rows. `ridge` is how many rows the release's own classifier is worth in a
        direction that no row says anything of; `balance` as in `jobs.balance`: 1 gives every label that has
        rows the same say, 0 every row. `held` are further rows, which count `hold` times."""
        counts = self._counts + (held._counts if held else 0.0)
        weights = _of_labels(counts, balance)
        gram, moment = np.tensordot(weights, self._grams, 1), np.tensordot(weights, self._moments, 1)
        if held:
            gram += hold * np.tensordot(weights, held._grams, 1)
            moment += hold * np.tensordot(weights, held._moments, 1)
        gram[np.diag_indices_from(gram)] += ridge
        return Solution(np.linalg.solve(gram, moment), np.asarray(gram), weights)

    def _sum(self, rows: Evidence, sign: float) -> None:
        features, residuals = _with_one(rows.features), rows.residuals * UNIT
        for label in np.unique(rows.labels):
            here = rows.labels == label
            weighed = sign * (features[here] * rows.trust[here, None]).T
            self._grams[label] += weighed @ features[here]
            self._moments[label] += weighed @ residuals[here]
            self._counts[label] += sign * rows.trust[here].sum()


def _of_labels(counts: Array, balance: float) -> Array:
    """(labels,) what a row of each label counts; the mean over all rows is 1."""
    shares = counts / max(counts.sum(), TRUST_UNIT)
    weights = np.where(shares > 0, np.maximum(shares, TRUST_UNIT**2) ** -balance, 0.0)
    mean = float(shares @ weights)
    return np.asarray(weights / mean if mean else weights)


@dataclass(frozen=True)
class Solution:
    """`weights` (size + 1, outputs), of a classifier in shares of a label; `gram` (size + 1, size + 1), the
    weighed and ridged sum of squares; `of_label` (labels,), what a row of each label counts."""

    weights: Array
    gram: Array
    of_label: Array

    def influence(self, rows: Evidence, asked: Array) -> Array:
        """What each row adds to the head's answer: (rows, outputs), for `asked` (size,), the features of one
        text. It is the answer less that of a head without the row, which the same weights of labels make:
        leave-one-out in closed form (Cook and Weisberg, Residuals and influence in regression, 1982)."""
        features = _with_one(rows.features)
        reach = np.linalg.solve(self.gram, features.T).T  # (rows, size + 1)
        weights = self.of_label[rows.labels] * rows.trust
        leverage = weights * np.einsum("rs,rs->r", reach, features)
        left = rows.residuals * UNIT - features @ self.weights
        pull = weights * (reach @ np.append(asked, 1.0)) / np.maximum(1 - leverage, 1e-9)
        return np.asarray(pull[:, None] * left)


def _with_one(features: Array) -> Array:
    """(rows, size) in `UNIT`s to (rows, size + 1), the last of which is 1."""
    wide = np.ones((len(features), features.shape[1] + 1))
    wide[:, :-1] = features * UNIT
    return wide


def corrected(logits: Array, features: Array, head: Array) -> Array:
    """(rows, labels): `logits` (rows, labels) and what a head (size + 1, labels) adds for `features`
    (rows, size)."""
    return np.asarray(logits + features @ head[:-1] + head[-1])

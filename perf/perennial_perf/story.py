"""What happened in a demo, as plain data: corrections, rebuilds, rounds of judging, and what the load saw.

Times are of the machine's monotonic clock, in seconds, as a trace's are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial_perf.stats import Floats
from perennial_perf.trace import Trace

AROUND_S = 15.0
"""How long "before" and "after" a promotion are."""
SETTLED_S = 1.0
"""How long after the swap a promotion still counts as under way."""


@dataclass(frozen=True)
class Correction:
    """One text that a user asked, what `release` answered and how `right` that was, in [0, 1], what the user
    then said, and what is right."""

    at: float
    release: int
    answered: str
    right: float
    rated: str
    gold: str


@dataclass(frozen=True)
class Promotion:
    """`began` is when its stages began to load, `swapped` when it served; `swap_ms` is the load of the
    ensemble. `since_last` and `since_first` are seconds since the last and the first correction learned."""

    began: float
    swapped: float
    swap_ms: float
    since_last: float
    since_first: float

    @property
    def windows(self) -> dict[str, tuple[float, float]]:
        settled = self.swapped + SETTLED_S
        return {
            "before": (self.began - AROUND_S, self.began),
            "during": (self.began, settled),
            "after": (settled, settled + AROUND_S),
        }


@dataclass(frozen=True)
class Rebuild:
    """One attempt to learn, how it ended (a job's state) and why; `promotion` where it came into service."""

    domain: str
    release: int
    state: str
    detail: str
    rows: int
    started: float
    ended: float
    promotion: Promotion | None

    @property
    def told(self) -> str:
        learned = f"release {self.release}, from {self.rows} corrections: {self.state}"
        return f"{learned} ({self.detail})" if self.detail else learned


@dataclass(frozen=True)
class Round:
    """The serving release judged on the held-out texts of each domain: metrics in [0, 1] by name."""

    release: int
    metrics: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Replay:
    """A domain's users: what they sent, what was learned of it, and the rounds around it."""

    domain: str
    corrections: tuple[Correction, ...]
    live: Mapping[str, float]
    rebuild: Rebuild | None
    before: Round
    after: Round


@dataclass(frozen=True)
class Story:
    """`home` is the domain that the first release was built from; at rest nobody corrects anything."""

    home: str
    replays: tuple[Replay, ...]
    at_rest: tuple[float, float]
    stored: int
    trace: Trace

    @property
    def shown(self) -> dict[str, str]:
        """The two metrics that tell most, and how a person calls them; the first is what gains count by."""
        names = self.first.metrics[self.home]
        ranked = {name: name.replace("ndcg", "nDCG") for name in names if "@" in name}
        usual = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
        return ranked or (usual if usual.keys() <= names.keys() else {name: name for name in [*names][:2]})

    @property
    def sent(self) -> int:
        return sum(len(replay.corrections) for replay in self.replays)

    @property
    def promotions(self) -> Iterator[tuple[Rebuild, Promotion]]:
        for replay in self.replays:
            if replay.rebuild and replay.rebuild.promotion:
                yield replay.rebuild, replay.rebuild.promotion

    @property
    def first(self) -> Round:
        return self.replays[0].before

    @property
    def last(self) -> Round:
        return self.replays[-1].after

    def lasted(self, rebuild: Rebuild) -> tuple[float, float]:
        """From the start of a rebuild until its promotion began, or it was refused."""
        return rebuild.started, rebuild.promotion.began if rebuild.promotion else rebuild.ended


def right(corrections: tuple[Correction, ...]) -> Floats:
    """(corrections,): how right each answer was; 1 where it was the gold label."""
    return np.array([one.right for one in corrections], np.float64)


def raters_right(corrections: tuple[Correction, ...]) -> float:
    """How often the users themselves gave the gold label: who learns from them may not do better."""
    return float(np.mean([one.rated == one.gold for one in corrections])) if corrections else float("nan")


def rolling(values: Floats, width: int) -> Floats:
    """(values,): the mean of the last `width` values at each, of fewer at the start."""
    sums: Any = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    means: Floats = (sums[ends] - sums[starts]) / (ends - starts)
    return means

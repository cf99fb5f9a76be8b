"""The search of `perennial tune`: which way of running a service is better, and which ways to try.

Pure: it judges figures that were measured side by side, and leaves servers and files to `tune`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Way: TypeAlias = Mapping[str, int]
"""Settings of a service that say how it runs, by name."""
Rows: TypeAlias = Mapping[int, Mapping[str, float]]
"""What one round measured, by clients: `requests/s`, and `p50`, `p95`, `p99` in milliseconds."""

MARGIN = 0.03
"""What a change must gain, and may cost; the noise of a round that is compared with its neighbour is less."""


@dataclass(frozen=True)
class Aim:
    """`clients` ascending; `p99_ms` is the limit with the most of them."""

    clients: Sequence[int]
    p99_ms: float = math.inf

    @property
    def few(self) -> int:
        return self.clients[0]

    @property
    def crowd(self) -> int:
        return self.clients[-1]


@dataclass(frozen=True)
class Trial:
    """A way beside the one it would replace: `rounds` of both, one just after the other."""

    base: Way
    way: Way
    rounds: Sequence[tuple[Rows, Rows]]

    @property
    def name(self) -> str:
        """What is other than in `base`."""
        return ", ".join(f"{key} {value}" for key, value in self.way.items() if value != self.base[key])

    def figure(self, clients: int, name: str, side: int = 1) -> float:
        """The median of the rounds; `side` 0 is that of the base."""
        return float(np.median([pair[side][clients][name] for pair in self.rounds]))

    def ratios(self, clients: int, name: str) -> list[float]:
        """To the base, round by round."""
        return [way[clients][name] / base[clients][name] for base, way in self.rounds]


@dataclass(frozen=True)
class Judgement:
    better: bool
    reason: str


def judge(trial: Trial, aim: Aim) -> Judgement:
    """Better is what answers more requests a second with the most clients, or a lone client sooner, and costs
    the other nothing; each by the margin. A p99 within the limit comes before both."""
    before, now = (trial.figure(aim.crowd, "p99", side) for side in (0, 1))
    if now > aim.p99_ms:
        nearer = before > aim.p99_ms and _gains([1 / one for one in trial.ratios(aim.crowd, "p99")])
        return Judgement(nearer, f"p99 {now:.3g} ms, over {aim.p99_ms:g}{', but nearer' if nearer else ''}")
    if before > aim.p99_ms:
        return Judgement(True, f"p99 {now:.3g} ms, within {aim.p99_ms:g}")
    more, longer = trial.ratios(aim.crowd, "requests/s"), trial.ratios(aim.few, "p50")
    sooner = [1 / ratio for ratio in longer]
    costs = any(np.median(one) < 1 - MARGIN for one in (more, sooner))
    told = f"requests/s {_percent(more)}, p50 of {aim.few} {_percent(longer)}"
    return Judgement(not costs and (_gains(more) or _gains(sooner)), told)


def _gains(ratios: Sequence[float]) -> bool:
    """By the margin in the median, and something in every round: one lucky round proves nothing."""
    return float(np.median(ratios)) >= 1 + MARGIN and min(ratios) > 1


def _percent(ratios: Sequence[float]) -> str:
    return f"{100 * (float(np.median(ratios)) - 1):+.1f} %"


Measure: TypeAlias = Callable[[Way, Way], Trial]


@dataclass
class Search:
    """Coordinate descent: each knob in turn, from the best so far; then the whole way beside the first."""

    start: Way
    aim: Aim
    trials: list[tuple[Trial, Judgement]] = field(default_factory=list)

    def run(self, knobs: Sequence[Sequence[Way]], measure: Measure, confirm: Measure) -> Way:
        """The best way, which is `start` where no other is better twice: in its trial, and once more at the
        end, together with all other changes."""
        best = self.start
        tried = [best]
        for value in (value for values in knobs for value in values):
            candidate = {**best, **value}
            if candidate not in tried:
                tried.append(candidate)
                if self._is_better(measure(best, candidate)):
                    best = candidate
        if best != self.start and not self._is_better(confirm(self.start, best)):
            return self.start
        return best

    def p99_ms(self, way: Way) -> float:
        """With the most clients, as it was last measured; nan where it never was."""
        for trial, _ in reversed(self.trials):
            for side, one in ((1, trial.way), (0, trial.base)):
                if one == way:
                    return trial.figure(self.aim.crowd, "p99", side)
        return math.nan

    def _is_better(self, trial: Trial) -> bool:
        self.trials.append((trial, judge(trial, self.aim)))
        return self.trials[-1][1].better


def knobs(cores: int) -> list[list[Way]]:
    """What is worth a try on so many cores: how the engine's threads are shared among rows, how many threads
    a lone row gets, and more processes for the Python around the engine.

    Left out is a delay of the dynamic batcher, of which a lone client has the whole: 1 ms of it before the
    other stages saved 4 % of the processor's time with 32 clients, and answered no more.
    """
    powers, processes = list(_powers(cores)), sorted({1, 2, *_powers(cores // 4)})
    shared = [{"instances": cores // threads, "threads": threads} for threads in powers]
    others = [{"instances": count, "threads": 1} for count in (cores - 1, cores + 1) if count]
    return [
        [*shared, *others],
        [{"alone_threads": threads} for threads in (0, *powers) if threads < cores],
        [{"tokenizers": count} for count in processes],
        [{"postprocesses": count} for count in processes],
    ]


def _powers(most: int) -> Iterator[int]:
    value = 1
    while value <= most:
        yield value
        value *= 2

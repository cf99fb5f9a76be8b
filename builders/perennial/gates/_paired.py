"""Two sides on the same texts: how far apart they are, how surely, and how many more texts settle it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from scipy.stats import binomtest

from perennial.types import Array

MOST_TIMES = 100
"""Where it takes more than this many times the texts at hand, "collect more" is no advice."""


@dataclass(frozen=True)
class Paired:
    """Of `texts`, the candidate did better on `ahead`, by `gained` in all, and worse on `behind`, by `lost`.

    Where a text is either right or wrong these are McNemar's discordant cells, and `gained` is `ahead`.
    """

    texts: float
    ahead: float
    behind: float
    gained: float
    lost: float

    @classmethod
    def of(cls, candidate: Array, baseline: Array) -> Paired:
        """From how right each side is on each text: (texts,) in [0, 1], twice."""
        apart = candidate - baseline
        up, down = apart[apart > 0], apart[apart < 0]
        return cls(len(apart), len(up), len(down), float(up.sum()), float(-down.sum()))

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.texts

    def p_better(self) -> float:
        """How often equals would be ahead as often as this: McNemar's exact test, one-sided."""
        ahead, behind = round(self.ahead), round(self.behind)
        return (
            float(binomtest(ahead, ahead + behind, alternative="greater").pvalue) if ahead + behind else 1.0
        )

    def low(self, alpha: float) -> float:
        """The lower end of the difference, too high with chance `alpha`.

        Tango's score interval (Statistics in Medicine 17, 1998), which holds where few texts differ, as the
        usual ones do not; where none does it gives about -2.7 / texts, the score form of the rule of three.
        Gains between 0 and 1 count as fractions of a pair, which bounds their variance from above.
        """
        z = NormalDist().inv_cdf(1 - alpha)  # scipy takes a millisecond for it
        low, high = -1.0, self.difference
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self._score(middle) > z else (low, middle)
        return low

    def high(self, alpha: float) -> float:
        return -self.flipped().low(alpha)

    def flipped(self) -> Paired:
        return Paired(self.texts, self.behind, self.ahead, self.lost, self.gained)

    def more(self, settled: Callable[[Paired], bool]) -> int | None:
        """About how many more texts settle it, if they fall as these did; None if far too many would."""
        times = 2.0
        while not settled(self._times(times)):
            times *= 2
            if times > MOST_TIMES:
                return None
        step = times / 2
        while step > 0.01 * times:
            step /= 2
            times += -step if settled(self._times(times - step)) else 0.0
        return math.ceil(self.texts * (times - 1))

    def _times(self, times: float) -> Paired:
        return Paired(
            times * self.texts,
            times * self.ahead,
            times * self.behind,
            times * self.gained,
            times * self.lost,
        )

    def _score(self, difference: float) -> float:
        """Tango's statistic under the hypothesis of a true `difference`; it falls as that grows."""
        n, b, c = self.texts, self.gained, self.lost
        linear = (2 * n - b + c) * difference - b - c
        constant = -c * difference * (1 - difference)
        share_lost = (math.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)
        variance = n * (2 * share_lost + difference * (1 - difference))
        return (b - c - n * difference) / math.sqrt(variance) if variance > 1e-12 else math.inf

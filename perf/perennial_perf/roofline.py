"""What a machine could do at best with an encoder: its arithmetic at the peak, its bytes at the bandwidth.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", CACM 52(4), 2009. Pure: the peaks are measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}
"""Of one number, by the first word of a precision."""


@dataclass(frozen=True)
class Encoder:
    """A transformer encoder: `layers` of width `hidden` whose feed-forward part is `inner` wide."""

    name: str
    layers: int
    hidden: int
    inner: int

    def flops(self, rows: int, tokens: int) -> float:
        """Of the products of `rows` texts of `tokens` each, two for a multiplication and an addition: four
        square and two feed-forward matrices a token, and two products of attention a pair of tokens."""
        matrices = 4 * self.hidden**2 + 2 * self.hidden * self.inner
        return 2.0 * self.layers * rows * tokens * (matrices + 2 * tokens * self.hidden)

    def numbers(self, rows: int, tokens: int) -> float:
        """That cross the memory at least: each weight of the layers once, and what a product gives once out
        and once in. Scores of attention and what is added or normalised could stay on the chip."""
        weights = 4 * self.hidden**2 + 2 * self.hidden * self.inner
        given = 6 * self.hidden + self.inner
        return float(self.layers * (weights + 2 * rows * tokens * given))


@dataclass(frozen=True)
class Chip:
    """`peaks` in operations a second by number format, `bandwidth` in bytes a second."""

    peaks: Mapping[str, float]
    bandwidth: float

    def limits_ms(self, encoder: Encoder, precision: str, rows: int, tokens: int) -> tuple[float, float]:
        """The least milliseconds by arithmetic and by bandwidth; no run takes less than the larger one."""
        numbers = number_format(precision)
        arithmetic = encoder.flops(rows, tokens) / self.peaks[numbers]
        moving = encoder.numbers(rows, tokens) * BYTES[numbers] / self.bandwidth
        return 1e3 * arithmetic, 1e3 * moving


def number_format(precision: str) -> str:
    """`int8` of `int8-static`."""
    return precision.partition("-")[0]

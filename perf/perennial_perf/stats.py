"""The few statistics that reports are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def percentiles(values: Floats | Sequence[float], points: Sequence[float] = (50, 95, 99)) -> dict[str, float]:
    """`p50`, `p95` … by linear interpolation, in the unit of `values`; nan of no values."""
    if len(values) == 0:
        return {f"p{point:g}": float("nan") for point in points}
    return {
        f"p{point:g}": float(value)
        for point, value in zip(points, np.percentile(values, points), strict=True)
    }


def worst_window(at: Floats, values: Floats, width: float, point: float = 99) -> float:
    """The largest `point`th percentile of `values` over windows of `width` in `at`; nan of none."""
    if len(values) == 0:
        return float("nan")
    window = ((at - at.min()) // width).astype(np.int64)
    return max(float(np.percentile(values[window == one], point)) for one in np.unique(window))

"""What the quality gate saw, in numbers: both sets as a whole, and their slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perennial.gates._answers import Judged
from perennial.gates._calibration import calibration_error
from perennial.gates._compared import Sides
from perennial.gates._findings import paired_figures
from perennial.gates._gains import macro_recall
from perennial.gates._paired import Paired


@dataclass(frozen=True)
class Slice:
    """`alpha` is the chance with which its lower end may be too high; not every slice is `limited`."""

    name: str
    paired: Paired
    alpha: float
    limited: bool = True


def figures_of(
    sides: Mapping[str, Sides], slices: Sequence[Slice], alpha: Callable[[str], float]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, both in sides.items():
        figures |= _whole(name, both, alpha(name))
    for one in slices:
        figures |= _slice(one)
    return figures


def _whole(name: str, sides: Sides, alpha: float) -> dict[str, float]:
    difference, p_better = macro_recall(sides.compared)
    return {
        **metrics(f"{name}.candidate", sides.ours),
        **metrics(f"{name}.serving", sides.theirs),
        **paired_figures(name, sides.compared.paired, alpha),
        f"{name}.macro_recall.difference": difference,
        f"{name}.macro_recall.p_better": p_better,
    }


def _slice(one: Slice) -> dict[str, float]:
    return {
        f"{one.name}.texts": one.paired.texts,
        f"{one.name}.difference": one.paired.difference,
        f"{one.name}.low": one.paired.low(one.alpha),
    }


def metrics(side: str, judged: Judged) -> dict[str, float]:
    figures = {f"{side}.{metric}": value for metric, value in judged.metrics.items()}
    if len(judged.confidence):
        figures[f"{side}.calibration_error"] = calibration_error(judged.correct, judged.confidence)
    return figures

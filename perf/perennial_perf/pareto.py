"""A compression's picture: what each student answers a second, against how well it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from perennial_perf.plots import AFTER, BEFORE, FAINT, PROMOTED, STYLE, keep

Rows = Mapping[str, Mapping[str, float]]


def draw(rows: Rows, front: Sequence[str], chosen: str | None, path: Path) -> None:
    """Write `rows` as a PNG, whole or not at all. A bar spans the 95 % interval of the difference to the
    serving release, around the row's own macro-F1; the Pareto front (`front`, in its order) is a line."""
    with pyplot.rc_context(STYLE):
        figure, panel = pyplot.subplots(figsize=(8, 5), dpi=130, layout="constrained")
        panel.plot(*_along(rows, front), color=FAINT, lw=1.4, ls=(0, (4, 3)), label="Pareto front", zorder=1)
        for name, row in rows.items():
            colour = PROMOTED if name == chosen else AFTER if name in front else BEFORE
            at, around = 100 * row["macro_f1"], row["points"]
            spread = [[around - row["low"]], [row["high"] - around]]
            panel.errorbar(row["texts_per_s"], at, spread, fmt="o", ms=7, capsize=3, color=colour)
            said = f"{name} (chosen)" if name == chosen else name
            panel.annotate(said, (row["texts_per_s"], at), (7, 6), textcoords="offset points", fontsize=9)
        panel.set_xlim(left=0)
        panel.margins(x=0.15)
        panel.set_xlabel("texts a second")
        panel.set_ylabel("macro-F1, points")
        panel.set_title("Quality and speed of each student, in the same engine and precision")
        panel.legend(loc="lower left")
        keep(figure, path)


def _along(rows: Rows, front: Sequence[str]) -> tuple[list[float], list[float]]:
    chosen = [rows[name] for name in front]
    return [row["texts_per_s"] for row in chosen], [100 * row["macro_f1"] for row in chosen]

"""The picture of planted candidates: how often a gate let each through, held it up, or refused it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from perennial.types import Outcome
from perennial_perf.plots import AFTER, BEFORE, INK, PROMOTED, STYLE, keep

OUTCOMES: tuple[Outcome, ...] = ("pass", "inconclusive", "fail")


def draw(rows: Mapping[str, Mapping[str, float]], bad: Collection[str], path: Path) -> None:
    """Write it as a PNG, whole or not at all: for each candidate a bar of its judgements by outcome. Those
    that must not pass are written in red."""
    at = np.arange(len(rows))
    with pyplot.rc_context(STYLE):
        figure, panel = pyplot.subplots(figsize=(10, 0.32 * len(rows) + 1.2), dpi=130, layout="constrained")
        left = np.zeros(len(rows))
        for outcome, colour in zip(OUTCOMES, (AFTER, BEFORE, INK), strict=True):
            counts = np.array([row[outcome] for row in rows.values()])
            panel.barh(at, counts, left=left, color=colour, label=outcome)
            left += counts
        panel.set_yticks(at, list(rows))
        for label in panel.get_yticklabels():
            label.set_color(PROMOTED if label.get_text() in bad else INK)
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.set_xlabel("judgements")
        panel.margins(y=0.01)
        panel.set_title("Planted candidates (red must not pass)", pad=24)  # the legend is between
        panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
        keep(figure, path)

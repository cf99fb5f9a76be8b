"""A candidate's picture: for each set that judged it, which labels it takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot

from perennial.types import Array
from perennial_perf.plots import INK, STYLE, keep

MOST_WRITTEN = 12
"""Labels, up to which the counts are legible in their cells."""


def draw(labels: Sequence[str], matrices: Mapping[str, Array], path: Path) -> None:
    """Write matrices (labels, labels) of counts, right labels by row, as a PNG, whole or not at all. A cell
    is shaded by its share of its row."""
    side = 2.5 + 0.4 * len(labels)
    with pyplot.rc_context({**STYLE, "axes.grid": False}):
        figure, panels = pyplot.subplots(
            1,
            len(matrices),
            figsize=(side * len(matrices), side),
            dpi=130,
            layout="constrained",
            squeeze=False,
        )
        for panel, (name, matrix) in zip(panels[0], matrices.items(), strict=True):
            panel.imshow(matrix / np.maximum(matrix.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
            panel.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
            panel.set_yticks(range(len(labels)), labels)
            panel.set_xlabel("answered")
            panel.set_ylabel("right")
            panel.set_title(f"{name}: {np.trace(matrix)} of {matrix.sum()} right")
            if len(labels) <= MOST_WRITTEN:
                _write_counts(panel, matrix)
        keep(figure, path, bbox_inches="tight")


def _write_counts(panel: pyplot.Axes, matrix: Array) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > 0.6 * matrix[row].sum()
        panel.text(column, row, str(count), ha="center", va="center", color="white" if dark else INK)

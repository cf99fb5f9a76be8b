"""Latency against throughput: points as rows of a CSV, and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import NullFormatter

from perennial_perf.plots import AFTER, COLOURS, STYLE, keep

THROUGHPUT = "requests/s"
PERCENTILES = {"p50": "-", "p99": ":"}
MARKS = "os^D"
PALETTE = (*COLOURS, AFTER)


@dataclass(frozen=True)
class Point:
    """A row as perf_analyzer's, on the curve of its `series`; `asked` says of what load."""

    series: str
    asked: str
    row: Mapping[str, float]


def write(points: Sequence[Point], path: Path) -> None:
    """A CSV with a line a point."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("series", "asked", *points[0].row))
        table.writerows((point.series, point.asked, *point.row.values()) for point in points)


def draw(points: Sequence[Point], title: str, path: Path) -> None:
    """A PNG: for each series its p50 and its p99, in milliseconds, over the requests a second."""
    with pyplot.rc_context(STYLE):
        figure, panel = pyplot.subplots(figsize=(9, 5.5), dpi=130, layout="constrained")
        for number, series in enumerate(dict.fromkeys(point.series for point in points)):
            rows = [point.row for point in points if point.series == series]
            colour, mark = PALETTE[number % len(PALETTE)], MARKS[number % len(MARKS)]
            for name, line in PERCENTILES.items():
                at, values = [row[THROUGHPUT] for row in rows], [row[name] for row in rows]
                panel.plot(at, values, line, marker=mark, color=colour, label=f"{name}, {series}")
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(left=0)
        panel.set_xlabel(THROUGHPUT)
        panel.set_ylabel("milliseconds")
        panel.set_title(title)
        panel.legend()
        keep(figure, path)

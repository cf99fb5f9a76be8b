"""The pictures of the benches of services that write: how fast and how soon, and what corrections changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import PercentFormatter

from perennial_perf.plots import AFTER, BEFORE, COLOURS, INK, PROMOTED, STYLE, keep

Row = Mapping[str, float]
STALL_MS = 1000.0


def draw_speed(rows: Mapping[int, Row], rivals: Mapping[str, float], left_ms: Row, path: Path) -> None:
    """Rows of the bench `generate` by clients, the rivals' tokens a second, and the milliseconds until who
    goes away has made room; as a PNG, whole or not at all."""
    with pyplot.rc_context(STYLE):
        figure, (speed, first, then) = pyplot.subplots(1, 3, figsize=(14, 4.6), dpi=130, layout="constrained")
        at, names = np.arange(len(rows)), [str(clients) for clients in rows]
        bars = speed.bar(at, [row["tokens/s"] for row in rows.values()], 0.6, color=AFTER)
        for (name, rate), colour in zip(rivals.items(), COLOURS, strict=False):
            speed.axhline(rate, color=colour, lw=1.6, ls=(0, (4, 3)), label=f"{name}, one at a time")
        speed.bar_label(bars, fmt="%.0f", padding=3, bbox={"fc": "white", "ec": "none", "pad": 1})
        speed.set_ylabel("tokens a second, all together")
        speed.legend(loc="upper left")
        speed.set_ylim(0, 1.35 * max([*rivals.values(), *(row["tokens/s"] for row in rows.values())]))
        _draw_times(first, at, rows, {"p50": "first ms, p50", "p99": "first ms, p99"})
        first.set_title("The first piece of an answer")
        _draw_times(then, at, rows, {"p50": "then ms, p50", "p99": "then ms, p99", "at most": "most ms"})
        then.set_title("Each next piece")
        then.axhline(STALL_MS, color=INK, lw=1, ls=(0, (2, 3)), label="a stall")
        then.axhline(left_ms["most"], color=PROMOTED, lw=1.6, label="until a leaver has made room")
        then.legend(loc="upper left", ncols=2)
        speed.set_title("What is written")
        for panel in (speed, first, then):
            panel.set_xticks(at, names)
            panel.set_xlabel("streaming clients")
            panel.grid(visible=False, axis="x")
        keep(figure, path)


def draw_taught(shares: Mapping[str, Row], path: Path) -> None:
    """The share of entries that were right, by which ones they are and by when they were asked; as a PNG,
    whole or not at all."""
    moments = list(dict.fromkeys(moment for row in shares.values() for moment in row))
    with pyplot.rc_context(STYLE):
        figure, panel = pyplot.subplots(figsize=(9, 4.6), dpi=130, layout="constrained")
        width = 0.8 / len(moments)
        for place, (moment, colour) in enumerate(zip(moments, (BEFORE, COLOURS[0], AFTER), strict=False)):
            rows = [(number, row[moment]) for number, row in enumerate(shares.values()) if moment in row]
            at = [number + (place - (len(moments) - 1) / 2) * width for number, _ in rows]
            bars = panel.bar(at, [share for _, share in rows], 0.92 * width, color=colour, label=moment)
            panel.bar_label(bars, fmt=lambda share: f"{share:.0%}", padding=3)
        panel.set_xticks(range(len(shares)), [*shares])
        panel.set_ylim(0, 1.2)
        panel.set_yticks(np.linspace(0, 1, 6))
        panel.yaxis.set_major_formatter(PercentFormatter(1))
        panel.set_title("Entries of a log that were written as the house wants them")
        panel.legend(loc="upper right", ncols=len(moments))
        panel.grid(visible=False, axis="x")
        keep(figure, path)


def _draw_times(panel: Any, at: Any, rows: Mapping[int, Row], named: Mapping[str, str]) -> None:
    """Milliseconds on a scale of powers of ten."""
    sides = (*[-15] * (len(named) - 1), 6)  # points off the line: the highest alone has its numbers above
    least = min(row[key] for row in rows.values() for key in named.values())
    for (name, key), colour, side in zip(named.items(), (AFTER, *COLOURS), sides, strict=False):
        values = [row[key] for row in rows.values()]
        panel.plot(at, values, "o-", color=colour, lw=1.8, label=name)
        for place, value in zip(at, values, strict=True):
            panel.annotate(f"{value:.0f}", (place, value), (0, side), textcoords="offset points", ha="center")
    panel.set_yscale("log")
    panel.set_ylim(least / 2, 12 * STALL_MS)
    panel.set_xlim(at[0] - 0.3, at[-1] + 0.3)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_ylabel("milliseconds")
    panel.legend(loc="upper left", ncols=2)

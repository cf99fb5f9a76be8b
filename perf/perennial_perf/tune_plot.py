"""The picture of `perennial tune`: how long an answer takes, and how many there are, in each way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import pyplot

from perennial_perf.plots import AFTER, BEFORE, COLOURS, PROMOTED, STYLE, keep
from perennial_perf.tuning import Search, Trial, Way


def draw(search: Search, best: Way, path: Path) -> None:
    """Write it as a PNG, whole or not at all: a line a way, a point for each number of clients."""
    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=(11, 5), dpi=130, layout="constrained")
        for panel, name in zip(figure.subplots(1, 2), ("p50", "p99"), strict=True):
            _draw(panel, search, best, name)
        keep(figure, path)


def _draw(panel: Any, search: Search, best: Way, name: str) -> None:
    trials = [trial for trial, _ in search.trials]
    for trial in trials:
        _line(panel, search, trial, 1, name, color=BEFORE, lw=1)
    started = [trial for trial in trials if trial.base == search.start]
    _line(panel, search, started[-1], 0, name, color=COLOURS[0], lw=2, label="as it was")
    if best != search.start:
        _line(panel, search, trials[-1], 1, name, color=AFTER, lw=2, label=trials[-1].name)
    if name == "p99" and search.aim.p99_ms < float("inf"):
        panel.axhline(search.aim.p99_ms, color=PROMOTED, lw=1.2, ls=(0, (2, 3)), label="the limit")
    panel.set_yscale("log")
    panel.set_title(f"{name} with {', '.join(map(str, search.aim.clients))} clients")
    panel.set_xlabel("requests/s")
    panel.set_ylabel("ms")
    panel.legend(loc="upper left")


def _line(panel: Any, search: Search, trial: Trial, side: int, name: str, **style: Any) -> None:
    rates = [trial.figure(clients, "requests/s", side) for clients in search.aim.clients]
    times = [trial.figure(clients, name, side) for clients in search.aim.clients]
    panel.plot(rates, times, marker="o", ms=3, **style)

"""What `perennial tune` tells of a search: a table, each measurement as CSV, a picture, a line of comment."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

from perennial import machine
from perennial_perf import tune_plot
from perennial_perf.report import Report
from perennial_perf.tuning import Search, Way

COLUMNS = ("trial", "changed", "side", "round", "clients", "requests/s", "p50", "p95", "p99", "mean")


def figures(search: Search) -> dict[str, dict[str, float]]:
    """A row for each trial: its medians (times in ms), and the median ratios to the way beside it."""
    few, crowd = search.aim.few, search.aim.crowd
    return {
        f"{number}. {trial.name}": {
            **{f"{count}: req/s": trial.figure(count, "requests/s") for count in search.aim.clients},
            f"{few}: p50": trial.figure(few, "p50"),
            f"{crowd}: p99": trial.figure(crowd, "p99"),
            "× req/s": float(np.median(trial.ratios(crowd, "requests/s"))),
            "× p50": float(np.median(trial.ratios(few, "p50"))),
        }
        for number, (trial, _) in enumerate(search.trials, 1)
    }


def notes(search: Search) -> list[str]:
    return [
        f"{number}. {'better' if judgement.better else 'no better'} ({judgement.reason})"
        for number, (_, judgement) in enumerate(search.trials, 1)
    ]


def told(search: Search) -> str:
    """The figures of the last trial, which held the best way beside the one that it replaces."""
    trial, crowd = search.trials[-1][0], search.aim.crowd
    rates, times = (
        " → ".join(f"{trial.figure(crowd, name, side):.0f}" for side in (0, 1))
        for name in ("requests/s", "p99")
    )
    where = f"{date.today()}, {machine.processor()}, {crowd} clients"
    return f"perennial tune, {where}: {rates} requests/s, p99 {times} ms"


def keep(report: Report, search: Search, best: Way, folder: Path) -> None:
    """As JSON, CSV and PNG in the folder of reports, each whole or not at all."""
    report.write(folder)
    part = folder / f"{report.bench}.part.csv"
    with part.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(_measurements(search))
    part.replace(folder / f"{report.bench}.csv")
    tune_plot.draw(search, best, folder / f"{report.bench}.png")


def _measurements(search: Search) -> Iterator[dict[str, object]]:
    for number, (trial, _) in enumerate(search.trials, 1):
        for turn, pair in enumerate(trial.rounds, 1):
            for side, rows in zip(("base", "changed"), pair, strict=True):
                where = {"trial": number, "changed": trial.name, "side": side, "round": turn}
                yield from ({**where, "clients": clients, **row} for clients, row in rows.items())

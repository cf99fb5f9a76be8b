"""Bench `curves`: how long answers take at each throughput, over gRPC and over HTTP.

perf_analyzer asks the ensemble for real texts: in a closed loop of more and more clients, then in an open one
of more and more requests a second, up to what the closed one reached. Beside the report, `curves.csv` keeps
the points and `curves.png` the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import get_args

from rich.progress import track

from perennial import machine
from perennial.config import Settings
from perennial_perf import analyzer, curves
from perennial_perf.analyzer import Analyzer, Protocol
from perennial_perf.benches._sandbox import SERVICE, console, sandbox, say, serving, target, texts_of
from perennial_perf.curves import THROUGHPUT, Point
from perennial_perf.report import Draft, Report

__all__ = ["run"]


@dataclass(frozen=True)
class Size:
    """`seconds` is about how long a point is measured, 1 at least: perf_analyzer wants as many requests as
    it sends in one; `shares` are those of the closed loop's best."""

    clients: tuple[int, ...]
    shares: tuple[float, ...]
    seconds: float
    texts: int


FULL = Size((1, 2, 4, 8, 16, 32, 64), (0.25, 0.5, 0.7, 0.8, 0.9), 8.0, 600)
QUICK = Size((1, 8), (0.5,), 1.0, 60)
LOOK = 100
"""Requests that tell about how many a second there will be."""
RELEASE = 1


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, size = Draft("curves"), QUICK if quick else FULL
    tools = analyzer.fetch(settings.folder.folder("tools"), say)
    points: list[Point] = []
    with sandbox(settings, "curves") as shop, serving(shop) as server:
        texts = texts_of(shop.bundle(SERVICE, RELEASE), size.texts)
        Random(0).shuffle(texts)
        for protocol in get_args(Protocol):
            with analyzer.analyzer(tools, target(server, protocol), SERVICE, texts, protocol) as load:
                closed = list(_closed(load, size))
                points += [*closed, *_open(load, size, max(point.row[THROUGHPUT] for point in closed))]
    reports = settings.folder.folder("reports")
    curves.write(points, reports / "curves.csv")
    curves.draw(points, f"{SERVICE} on {machine.processor()}", reports / "curves.png")
    rows = {f"{point.series}, {point.asked}": point.row for point in points}
    return draft.report(rows, [], [f"the points are in {reports}/curves.csv, the picture in curves.png"])


def _closed(load: Analyzer, size: Size) -> Iterator[Point]:
    load.measure(max(size.clients), LOOK)
    for clients in track(size.clients, f"{load.protocol}, clients", console=console):
        rate = load.measure(clients, LOOK)[THROUGHPUT]
        row = load.measure(clients, _enough(rate, size))
        yield Point(
            f"{load.protocol}, closed loop", "1 client" if clients == 1 else f"{clients} clients", row
        )


def _open(load: Analyzer, size: Size, most: float) -> Iterator[Point]:
    for share in track(size.shares, f"{load.protocol}, requests a second", console=console):
        rate = share * most
        row = load.measure_at(rate, _enough(rate, size))
        yield Point(f"{load.protocol}, open loop", f"{rate:.0f} requests/s", row)


def _enough(rate: float, size: Size) -> int:
    return math.ceil(rate * size.seconds)

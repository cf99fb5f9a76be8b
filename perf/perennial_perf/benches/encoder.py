"""Bench `encoder`: what the slow loop learns of a stream, beside what all rows at once would teach, for how
much processor time.

Stream B of the bench `learn`, with one rater's labels: chunks of which 85 % are of one label. Between
rebuilds a fast head answers; 5 % of the rows are stored. Each way runs in a process of one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from rich.progress import track

from perennial.config import Settings
from perennial.types import Array
from perennial_perf.benches import _encoder_runs as runs
from perennial_perf.benches._courses import pool
from perennial_perf.benches._encoder_runs import Taught, Way
from perennial_perf.benches._features import sentiment
from perennial_perf.benches._sandbox import console
from perennial_perf.benches._streams import Spec
from perennial_perf.plots import AFTER, FAINT, INK, STYLE, keep
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]

JOINT = Way("finetune", "full", rebuilds=0, epochs=2, learning_rate=1e-4)
OURS = Way("replay", fast_head=True)
OTHERS = (
    Way("finetune", "lora", rebuilds=0, epochs=2, learning_rate=1e-3),
    *(Way(name) for name in ("finetune", "replay_balanced", "derpp", "distill")),
    Way("sgd", learning_rate=0.01, batch_size=1),
)
ORDERS, TEXTS, TRAIN, TEST = 2, 4000, 1500, 500
"""Of our way, of each domain. The rows of all orders are the same, so one joint training bounds them all."""
APART = 0.45
"""Points between two names in the picture, at least."""
QUICK = (1, 300, 60, 40)
Found = Mapping[Way, list[Taught]]


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("encoder")
    orders, texts, train, test = QUICK if quick else (ORDERS, TEXTS, TRAIN, TEST)
    sentiment(settings, texts)  # fetched once, and not by every process
    asked = [(JOINT, 0), *((OURS, order) for order in range(orders))]
    asked += [] if quick else [(way, 0) for way in OTHERS]
    found: dict[Way, list[Taught]] = {}
    with pool() as executor:
        futures = {
            executor.submit(
                runs.run, settings.state, way, texts, Spec("B", "rater", order, 0, train, test)
            ): way
            for way, order in asked
        }
        for future in track(as_completed(futures), "learning", len(futures), console=console):
            found.setdefault(futures[future], []).append(future.result())
    picture = settings.folder.folder("reports") / "encoder.png"
    draw(found, picture)
    notes = [
        "joint: every row at once, which no service can wait for. Rebuilds: the last three layers, one pass.",
        "CPU s: training alone. The fast head needs each row's way through the network as well: in a service "
        "its engine's; here in float32 in torch.",
        f"drawn: {picture}",
    ]
    return draft.report(figures(found), goals_of(found), notes)


def figures(found: Found) -> Figures:
    return {way.name: _row(courses) for way, courses in found.items()}


def goals_of(found: Found) -> list[Goal]:
    joint, ours = found[JOINT], found[OURS]
    growth = float(np.mean([course.cpu_s[-1] / course.cpu_s[0] for course in ours]))
    return [
        Goal("macro-F1, ours / joint", _score(ours) / _score(joint), 0.98, ">="),
        Goal("CPU s, ours / joint", _cpu_s(ours) / _cpu_s(joint), 1 / 3, "<="),
        Goal("CPU s, last rebuild / first", growth, 1.25, "<="),
        Goal("points that the worst slice lost at a promotion", max(map(_worst_loss, ours)), 1.0, "<="),
    ]


def _row(courses: list[Taught]) -> dict[str, float]:
    return {
        "macro-F1": 100 * _score(courses),
        "worst slice": 100 * float(np.mean([course.promoted[-1].min() for course in courses])),
        "CPU s": _cpu_s(courses),
        "first": float(np.mean([course.cpu_s[0] for course in courses])),
        "last": float(np.mean([course.cpu_s[-1] for course in courses])),
        "head CPU s": float(np.mean([course.head_s for course in courses])),
    }


def _score(courses: list[Taught]) -> float:
    return float(np.mean([course.promoted[-1].mean() for course in courses]))


def _cpu_s(courses: list[Taught]) -> float:
    return float(np.mean([sum(course.cpu_s) for course in courses]))


def _worst_loss(course: Taught) -> float:
    """In points, over all promotions: what the worst slice of what served was above that of what came."""
    pairs = zip(course.served, course.promoted, strict=True)
    return max(100 * float(served.min() - promoted.min()) for served, promoted in pairs)


def draw(found: Found, path: Path) -> None:
    """Write it as a PNG, whole or not at all."""
    with pyplot.rc_context(STYLE):
        figure, panel = pyplot.subplots(figsize=(9, 5), dpi=110, layout="constrained")
        for number, course in enumerate(found[OURS]):
            seen = [place for place in course.seen for _ in range(2)]
            curve = [_mean(one) for pair in zip(course.served, course.promoted, strict=True) for one in pair]
            panel.plot(seen, curve, "o-", color=AFTER, label=OURS.name if number == 0 else None)
        above = 0.0
        for way, end in sorted(_ends(found).items(), key=lambda item: item[1]):
            above = max(end, above + APART)
            panel.axhline(end, color=FAINT, lw=1, ls=(0, (2, 3)))
            panel.annotate(f"{way.name}: {end:.1f}", (0, above), color=INK, fontsize=8)
        panel.set(xlabel="rows of feedback", ylabel="macro-F1 on gold labels", xlim=(0, None))
        panel.set_title("What serves, before and after each promotion; dotted: what others end with")
        panel.legend(loc="lower right")
        keep(figure, path)


def _ends(found: Found) -> dict[Way, float]:
    """What the others end with."""
    return {way: 100 * _score(courses) for way, courses in found.items() if way != OURS}


def _mean(slices: Array) -> float:
    return 100 * float(slices.mean())

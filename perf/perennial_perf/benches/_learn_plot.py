"""The picture of the learning bench: what a method knows as rows come in, and where all of them end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot

from perennial_perf.benches._course import Course
from perennial_perf.benches._courses import JOINT, METHODS, Courses
from perennial_perf.plots import AFTER, BEFORE, COLOURS, FAINT, INK, STYLE, keep
from perennial_perf.stats import Floats

PALETTE = dict(zip(METHODS, (AFTER, *COLOURS), strict=True))
TITLES = {
    "A": "domain by domain",
    "B": "85 % one label at a time",
    "C": "B, and 10 % lies",
    "D": "delays, deletions, a late label",
    "news, classes": "newsgroups, 4 × 5 classes",
    "news, instances": "newsgroups, shuffled",
}


def draw(found: Mapping[tuple[str, str], Courses], ends_of: Sequence[str], path: Path) -> None:
    """Write it as a PNG, whole or not at all: curves of each lesson, and where each learner
    ends on those of `ends_of`."""
    lessons = sorted({lesson for lesson, _ in found})
    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=(17, 12), dpi=110, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(2, 1.2))
        for panel, lesson in zip(above.subplots(2, 5).flat, lessons, strict=True):
            _draw_curves(panel, lesson, _of(found, lesson))
        for panel, lesson in zip(below.subplots(1, len(ends_of)).flat, ends_of, strict=True):
            _draw_ends(panel, lesson, _of(found, lesson))
        figure.suptitle("Macro-F1 on gold labels while feedback comes in, all on the same frozen features")
        keep(figure, path)


def _of(found: Mapping[tuple[str, str], Courses], lesson: str) -> dict[str, list[Course]]:
    """Every course on the lesson, by learner, rivals first."""
    here = {name: list(chain(*courses)) for (of, name), courses in found.items() if of == lesson}
    return dict(sorted(here.items(), key=lambda item: (item[0] in PALETTE, item[0])))


def _draw_curves(panel: Any, lesson: str, learners: Mapping[str, list[Course]]) -> None:
    """The mean of all orders and seeds, and all that lies between the lowest and the highest."""
    rival = "libraries"
    for name, courses in learners.items():
        curves = 100 * np.array([course.curve.mean(axis=1) for course in courses])  # (courses, checkpoints)
        if name == JOINT:
            panel.axhline(curves.mean(), color=INK, lw=1.2, ls=(0, (2, 3)), label=JOINT)
        elif name in PALETTE:
            panel.plot(_seen(courses), curves.mean(axis=0), color=PALETTE[name], lw=2, label=name)
            panel.fill_between(
                _seen(courses), curves.min(axis=0), curves.max(axis=0), color=PALETTE[name], alpha=0.15, lw=0
            )
        else:
            panel.plot(_seen(courses), curves.mean(axis=0), color=BEFORE, lw=1.2, label=rival)
            rival = "_"
    kind, _, labels = lesson.partition(", ")
    panel.set_title(TITLES[lesson] if lesson in TITLES else f"{kind}: {TITLES[kind]} ({labels})", fontsize=10)
    panel.set_xlabel("rows")
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=7, loc="lower right")


def _seen(courses: Iterable[Course]) -> Floats:
    return np.asarray(np.mean([course.seen for course in courses], axis=0))


def _draw_ends(panel: Any, lesson: str, learners: Mapping[str, list[Course]]) -> None:
    ends = {name: 100 * np.array([one.score for one in courses]) for name, courses in learners.items()}
    names = sorted(ends, key=lambda name: float(ends[name].mean()))
    means = [float(ends[name].mean()) for name in names]
    reach = [[mean - ends[n].min() for n, mean in zip(names, means, strict=True)],
             [ends[n].max() - mean for n, mean in zip(names, means, strict=True)]]  # fmt: skip
    colours = [PALETTE.get(name, FAINT if name == JOINT else BEFORE) for name in names]
    bars = panel.barh(names, means, xerr=reach, color=colours, ecolor=INK, capsize=2)
    panel.bar_label(bars, [f"{mean:.1f}" for mean in means], label_type="center", fontsize=8, color="white")
    panel.set_title(f"{lesson}: at the end")
    panel.grid(visible=False, axis="y")

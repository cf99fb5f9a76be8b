"""Bench `learn`: what is learned from streams of feedback, by the fast head, the textbook, other ways of
continual learning and the libraries that users would pick instead, all on the same frozen features.

Every stream comes in several orders of several seeds; who learns sees each row once, keeps 5 % of the rows
at most, and is tested on gold labels. A rival that cannot be installed or fails is a line in the report.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich.progress import track

from perennial.config import Settings
from perennial.errors import Unavailable
from perennial_perf.benches._course import spread
from perennial_perf.benches._courses import (
    FAST,
    JOINT,
    METHODS,
    Courses,
    Hired,
    Learner,
    Lesson,
    Size,
    every,
    name_of,
)
from perennial_perf.benches._features import features, newsgroups, sentiment
from perennial_perf.benches._learn_claims import Claims, claims
from perennial_perf.benches._learn_plot import draw
from perennial_perf.benches._peer_processes import install
from perennial_perf.benches._rivals import RIVALS
from perennial_perf.benches._sandbox import console, say
from perennial_perf.benches._streams import Kind, Labels
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]

FULL, QUICK = Size(5, 3, 1500, 750), Size(2, 1, 150, 100)
TEXTS, QUICK_TEXTS = 4000, 250
"""Of each domain, at most; of the newsgroups all, or as many of either set."""
HARD = ("B, rater", "C, rater", "news, classes")
"""Where rivals are compared: labels come unevenly, some lie, or classes come one after the other."""
Found = dict[tuple[str, str], Courses]
"""By lesson and learner."""


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, size = Draft("learn"), QUICK if quick else FULL
    lessons = {lesson.name: lesson for lesson in _lessons(settings, QUICK_TEXTS if quick else None)}
    notes: list[str] = []
    rivals = [] if quick else list(_hired(settings, notes))
    asked: list[tuple[Learner, Lesson]] = [
        (learner, lessons[name]) for learner, name in itertools.product(rivals, HARD)
    ]
    asked += [(learner, one) for one in lessons.values() for learner in (JOINT, *METHODS)]
    found: Found = {}
    for learner, lesson, courses in track(every(asked, size), "learning", len(asked), console=console):
        if isinstance(courses, Unavailable):
            notes.append(f"{name_of(learner)} on {lesson.name}: {courses}")
        else:
            found[lesson.name, name_of(learner)] = courses
    proved = claims(lessons["B, rater"], size)
    picture = settings.folder.folder("reports") / "learn.png"
    draw(found, HARD, picture)
    names = [one.rival.name for one in rivals]
    return draft.report(
        _figures(found, proved), goals_of(found, names, proved), [*notes, f"drawn: {picture}"]
    )


def _lessons(settings: Settings, most: int | None) -> Iterator[Lesson]:
    kinds: dict[str, list[tuple[Kind, Labels]]] = {
        "feedback": [(kind, labels) for kind in ("A", "B", "C", "D") for labels in ("gold", "rater")],
        "news": [("classes", "gold"), ("instances", "gold")],
    }
    for name, (corpus, texts) in (
        ("feedback", sentiment(settings, most or TEXTS)),
        ("news", newsgroups(settings, most)),
    ):
        file = features(settings, texts)
        yield from (Lesson(corpus, file, kind, labels) for kind, labels in kinds[name])


def _hired(settings: Settings, notes: list[str]) -> Iterator[Hired]:
    home, logs = settings.folder.folder("peers").resolve(), settings.folder.folder("logs")
    for number, rival in enumerate(RIVALS):
        try:
            python = install(home, rival.folder, rival.requirements)
        except Unavailable as error:
            say(f"{rival.name}: {error}")
            notes.append(f"{rival.name}: {error}")
        else:
            yield Hired(rival, python, logs / f"learn-{rival.folder}-{number}.log")


def _figures(found: Found, proved: Claims) -> Figures:
    figures: dict[str, float | Mapping[str, float]] = {
        "fast head, a row and a solve: p50 ms": proved.update["p50"],
        "fast head, a row and a solve: p95 ms": proved.update["p95"],
        "fast head, a row and a solve: max ms": proved.update["max"],
    }
    for lesson, learner in sorted(found):
        row = _joint_row if learner == JOINT else _row
        figures[f"{lesson}: {learner}"] = row(found[lesson, learner])
    return figures


def _row(courses: Courses) -> dict[str, float]:
    flat = [course for of_seed in courses for course in of_seed]
    return {
        **_joint_row(courses),
        "spread": spread(courses),
        "forgetting": 100 * float(np.mean([course.forgetting for course in flat])),
        "prequential": 100 * float(np.mean([course.prequential for course in flat])),
        "flips %": 100 * float(np.mean([course.flips for course in flat])),
        "MB": float(np.mean([course.kept_mb for course in flat])),
    }


def _joint_row(courses: Courses) -> dict[str, float]:
    flat = [course for of_seed in courses for course in of_seed]
    return {
        "macro-F1": 100 * score(courses),
        "worst slice": 100 * float(np.mean([course.worst for course in flat])),
        "ECE %": 100 * float(np.mean([course.ece for course in flat])),
        "CPU s": float(np.mean([course.cpu_s for course in flat])),
    }


def score(courses: Courses) -> float:
    return float(np.mean([course.score for of_seed in courses for course in of_seed]))


def goals_of(found: Found, rivals: Sequence[str], proved: Claims) -> list[Goal]:
    """Without a rival to compare with, a goal is not met."""
    b = "B, rater"
    share = score(found[b, FAST]) / score(found[b, JOINT])
    goals = [
        Goal(f"{b}: macro-F1, fast head / joint head", share, 0.99, ">="),
        Goal(f"{b}: points between orders", spread(found[b, FAST]), 0.2, "<="),
        Goal("ms to learn a row, at most", proved.update["max"], 50.0, "<="),
        Goal("weights apart between orders", proved.apart, 1e-9, "<="),
        Goal("weights left by a deletion", proved.left, 1e-9, "<="),
        Goal("ms to delete a source", proved.deletion_ms, 50.0, "<="),
        Goal("rank correlation of why and refits, at least", proved.agreement, 0.95, ">="),
    ]
    for lesson in ("A, rater", b):
        goals.append(Goal(f"{lesson}: points forgotten", _row(found[lesson, FAST])["forgetting"], 1.0, "<="))
    for lesson in HARD:
        theirs = [score(found[lesson, name]) for name in rivals if (lesson, name) in found]
        ahead = 100 * (score(found[lesson, FAST]) - max(theirs, default=float("nan")))
        goals.append(Goal(f"{lesson}: points ahead of the best rival", ahead, 0.0, ">="))
    return goals

"""Which student comes into service: the quickest of those that are good enough and in time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from perennial.jobs.run import Refused, Result, Run

SERVING = "serving"
"""The row of the serving release; no student has this name."""

Rows = Mapping[str, Mapping[str, float]]


def choose(run: Run) -> Result:
    """What a rebuild's training leaves, of the chosen student, in the place where that leaves it."""
    rows, asked = run.job.steps["measure"]["rows"], run.job.payload
    name = chosen(rows, asked["max_drop"], asked["p99_ms"])
    if name is None:
        return {"outcome": "fail", "reason": nearest(rows, asked["max_drop"], asked["p99_ms"])}
    if asked["dry_run"]:
        raise Refused("cancelled", f"a dry run: {name} would have been chosen, and nothing changed")
    with run.fresh("train") as folder:
        shutil.copytree(run.folder / name, folder, copy_function=os.link, dirs_exist_ok=True)
    return {**run.job.steps[name], "chosen": name}


def chosen(rows: Rows, max_drop: float, p99_ms: float | None) -> str | None:
    """The student of the highest throughput that was measured at most `max_drop` points of macro-F1 below the
    serving release, and within the limit at its p99; None where none was, or none is quicker."""
    students = {name: row for name, row in rows.items() if _wanting(row, max_drop, p99_ms) <= 0}
    students[SERVING] = rows[SERVING]
    best = max(students, key=lambda name: students[name]["texts_per_s"])
    return None if best == SERVING else best


def nearest(rows: Rows, max_drop: float, p99_ms: float | None) -> str:
    """One line on the student that comes nearest to what was asked for."""
    students = {name: row for name, row in rows.items() if name != SERVING}
    name = min(students, key=lambda name: _wanting(students[name], max_drop, p99_ms))
    row, limit = students[name], "" if p99_ms is None else f" and a p99 of {p99_ms:g} ms"
    return (
        f"no student is quicker within a drop of {max_drop:g} points{limit}; {name} is nearest: "
        f"{row['points']:+.1f} points, p99 {row['p99_ms']:.1f} ms, {row['texts_per_s']:.0f} texts/s where "
        f"{rows[SERVING]['texts_per_s']:.0f} serve; allow more, or give more --texts to learn from"
    )


def optimal(rows: Rows) -> list[str]:
    """The rows than which no other is both quicker and better: the Pareto front, quickest first."""
    front: list[str] = []
    for name in sorted(rows, key=lambda name: (-rows[name]["texts_per_s"], -rows[name]["macro_f1"])):
        if not front or rows[name]["macro_f1"] > rows[front[-1]]["macro_f1"]:
            front.append(name)
    return front


def _wanting(row: Mapping[str, float], max_drop: float, p99_ms: float | None) -> float:
    """By how much a row misses the limits, each in points or as points in a hundred of itself; 0 where it
    keeps them."""
    late = 0.0 if p99_ms is None else max(0.0, 100 * (row["p99_ms"] / p99_ms - 1))
    return max(0.0, -row["points"] - max_drop) + late

"""A bench's report: its figures, the goals that they meet or miss, and where and when they were measured."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeAlias

import psutil
from rich.console import Console
from rich.table import Table

from perennial import machine

Figures: TypeAlias = Mapping[str, float | Mapping[str, float]]
"""Figures by name; a nested mapping is a row of a table, by column."""


@dataclass(frozen=True)
class Goal:
    """What a figure has to be. A value that is not a number meets nothing."""

    name: str
    value: float
    limit: float
    relation: Literal["<=", ">=", "=="]

    @property
    def met(self) -> bool:
        if self.relation == "<=":
            return self.value <= self.limit
        if self.relation == ">=":
            return self.value >= self.limit
        return self.value == self.limit

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": _number(self.value),
            "limit": self.limit,
            "relation": self.relation,
            "met": self.met,
        }


@dataclass(frozen=True)
class Report:
    bench: str
    figures: Figures
    goals: Sequence[Goal]
    machine: Mapping[str, Any]
    commit: str
    started_at: str
    seconds: float
    notes: Sequence[str] = ()
    """What figures cannot say."""

    @property
    def exit_code(self) -> int:
        """1 where a goal is not met."""
        return 0 if all(goal.met for goal in self.goals) else 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "figures": _plain(self.figures),
            "goals": [goal.as_dict() for goal in self.goals],
            "notes": list(self.notes),
            "machine": dict(self.machine),
            "commit": self.commit,
            "started_at": self.started_at,
            "seconds": round(self.seconds, 1),
        }

    def write(self, folder: Path) -> Path:
        """Keep it as the bench's last report, in `folder`/<bench>.json; whole or not at all."""
        path = folder / f"{self.bench}.json"
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(self.as_dict(), indent=2) + "\n")
        part.replace(path)
        return path

    def show(self, console: Console) -> None:
        for table in (_figures_table(self), *_row_tables(self), _goals_table(self.goals)):
            if table.row_count:
                console.print(table)
        for note in self.notes:
            console.print(note, highlight=False, markup=False)


def _machine() -> dict[str, Any]:
    """What figures depend on; a load average above 0 says that others were at work."""
    return {
        "cpu": machine.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _commit() -> str:
    """The checkout that was measured, with `-dirty` where it has changes; empty outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@dataclass(frozen=True)
class Draft:
    """A report being measured: make it first, so that it knows when the bench began and on what."""

    bench: str
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    machine: Mapping[str, Any] = field(default_factory=_machine)

    def report(self, figures: Figures, goals: Sequence[Goal], notes: Sequence[str] = ()) -> Report:
        seconds = time.monotonic() - self.started
        return Report(self.bench, figures, goals, self.machine, _commit(), self.started_at, seconds, notes)


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None


def _plain(figures: Figures) -> dict[str, Any]:
    return {
        name: _plain(value) if isinstance(value, Mapping) else _number(value)
        for name, value in figures.items()
    }


def _figures_table(report: Report) -> Table:
    table = Table(title=report.bench, title_justify="left", show_header=False)
    for name, value in report.figures.items():
        if not isinstance(value, Mapping):
            table.add_row(name, _shown(value))
    return table


def _row_tables(report: Report) -> list[Table]:
    """One table for each set of columns."""
    tables: dict[tuple[str, ...], Table] = {}
    for name, row in report.figures.items():
        if isinstance(row, Mapping):
            columns = tuple(row)
            if columns not in tables:
                tables[columns] = Table("", *columns)
            tables[columns].add_row(name, *(_shown(value) for value in row.values()))
    return list(tables.values())


def _goals_table(goals: Sequence[Goal]) -> Table:
    table = Table("goal", "value", "", "limit", "met")
    for goal in goals:
        met = "[green]yes[/]" if goal.met else "[bold red]no[/]"
        table.add_row(goal.name, _shown(goal.value), goal.relation, _shown(goal.limit), met)
    return table


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

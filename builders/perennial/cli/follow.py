"""Shows a job's progress while it runs: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from perennial.cli.output import console, say
from perennial.jobs.workshop import Workshop
from perennial.types import Job

PERIOD_S = 0.25


@contextmanager
def following(shop: Workshop, job: Job, quiet: bool) -> Iterator[None]:
    """Show the job's progress beside the block."""
    if quiet:
        yield
        return
    done = threading.Event()
    show = _bar if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(shop.state.folder("jobs", job.id), done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def progress_of(folder: Path) -> dict[str, Any]:
    """What the job last said of itself; empty before it said anything."""
    try:
        progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    except FileNotFoundError:
        return {}
    return progress


def _bar(folder: Path, done: threading.Event) -> None:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[message]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        bar: TaskID | None = None
        step = ""
        while not done.wait(PERIOD_S):
            progress = progress_of(folder)
            if progress and progress["step"] != step:
                if bar is not None:
                    bars.update(bar, total=1, completed=1)
                step = progress["step"]
                bar = bars.add_task(step, total=None, message="")
            if bar is not None:
                total = progress["total"] or None
                bars.update(bar, total=total, completed=progress["done"], message=progress["message"])
        if bar is not None:
            bars.update(bar, total=1, completed=1)


def _lines(folder: Path, done: threading.Event) -> None:
    step = ""
    while not done.wait(PERIOD_S):
        progress = progress_of(folder)
        if progress and progress["step"] != step:
            step = progress["step"]
            say(f"{step}: {progress['message'] or 'begins'}")

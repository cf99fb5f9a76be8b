"""The processes that answer for Python models: Triton starts one for each instance of each version."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import psutil


def stubs(server_pid: int) -> dict[Path, list[psutil.Process]]:
    """The living ones, oldest first, under the version folder that each runs."""
    found: dict[Path, list[psutil.Process]] = defaultdict(list)
    children = psutil.Process(server_pid).children()
    for process in sorted(children, key=lambda child: child.create_time()):
        try:
            command = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if len(command) > 1 and command[1].endswith(".py"):  # stub, model.py, region, …
            found[Path(command[1]).parent].append(process)
    return dict(found)

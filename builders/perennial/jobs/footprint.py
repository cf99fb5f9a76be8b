"""How much memory an opened engine file takes, in a process of its own, in which nothing else was allocated.
`python -m perennial.jobs.footprint ENGINE FILE THREADS` prints it in MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from perennial.errors import Broken
from perennial.jobs.workshop import engine_of


def memory_mb(engine: str, file: Path, threads: int) -> float:
    """What the process grew by (resident set): the session, and the engine's library, which all rows have."""
    command = [sys.executable, "-m", __name__, engine, str(file), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{file} does not open in a process of its own: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


def _grown(engine: str, file: Path, threads: int) -> float:
    before = psutil.Process().memory_info().rss
    session = engine_of(engine).open(file, threads)
    grown = psutil.Process().memory_info().rss - before
    session.close()
    return grown / 1e6


if __name__ == "__main__":
    print(_grown(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))

"""How much memory an opened engine file takes, in a process of its own, in which nothing else was allocated.

`python -m perennial.jobs.footprint RELEASE FILE` prints it in MB; the engine is that of the release in the
folder.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from perennial.errors import Broken
from perennial.jobs.workshop import engine_in
from perennial.repository.layout import read_bundle
from perennial.types import Bundle


def memory_mb(serving: Bundle, file: Path) -> float:
    """What the process grew by (resident set): the session, and the engine's library, which all rows have."""
    command = [sys.executable, "-m", __name__, str(serving.folder), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{file} does not open in a process of its own: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


def _grown(serving: Bundle, file: Path) -> float:
    before = psutil.Process().memory_info().rss
    session = engine_in(serving).open(file, threads=1)
    grown = psutil.Process().memory_info().rss - before
    session.close()
    return grown / 1e6


if __name__ == "__main__":
    print(_grown(read_bundle(Path(sys.argv[1])), Path(sys.argv[2])))

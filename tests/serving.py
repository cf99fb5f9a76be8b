"""A running tritonserver, as the tests see it; tests/e2e/conftest.py starts one for the session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from perennial.server.control import Control
from perennial.server.process import Server
from perennial.state import State


@dataclass(frozen=True)
class Served:
    """`repository` is a copy: a test publishes there, and loads what it published through `control`."""

    server: Server
    control: Control
    repository: Path
    state: State


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run; a zombie has ended."""
    return [
        process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


ATTEMPTS = 3
"""At being quicker than something, on a machine that does other things as well."""


def within(seconds: float, claim: Callable[[], bool]) -> bool:
    """Whether the claim comes true in time."""
    ends_at = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.05)
    return True

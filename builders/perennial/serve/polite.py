"""Starts a release without slowing down the one that serves on the same cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

NICE = 19


def politely(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done on a thread of the lowest priority.

    On Linux niceness is a thread's own. The thread that waits here keeps its priority, which it could not
    take back (setpriority(2)); threads that `work` starts inherit the low one for good, so it must start none
    that answer requests later.
    """
    with ThreadPoolExecutor(1, initializer=_be_nice) as pool:
        return pool.submit(work).result()


def _be_nice() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)

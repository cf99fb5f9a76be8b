"""Claims about work that is done at the lowest priority."""

from __future__ import annotations

import os
import threading

import pytest

from perennial.serve.polite import NICE, politely


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_work_is_nice_and_who_waits_for_it_is_not() -> None:
    before = niceness()
    assert politely(niceness) == NICE
    assert niceness() == before < NICE


def test_the_works_error_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        politely(lambda: 1 // 0)

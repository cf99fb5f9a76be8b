"""Child processes that must not outlive their parent, whatever kills it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(nice: int = 0) -> None:
    """For `preexec_fn`: the kernel kills this process when the thread that started it is gone (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if nice:
        os.nice(nice)
        # A session of its own is an autogroup of its own, and between those only this counts (sched(7)).
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:  # noqa: PTH123
            autogroup.write(str(nice))

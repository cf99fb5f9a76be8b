"""How much of the machine went to processes that are none of the bench's: figures of a shared machine lie,
and not alike for a server of one process and one of many."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil


class Others:
    """Counts from when it is made, or last asked."""

    def __init__(self) -> None:
        self._began, self._foreign = time.monotonic(), _foreign()

    def share(self) -> float:
        """Of all cores' time since, in [0, 1]; what ends unseen, such as a server's own child, counts as
        foreign."""
        now, foreign = time.monotonic(), _foreign()
        cores = psutil.cpu_count() or 1
        share = (foreign - self._foreign) / (cores * (now - self._began))
        self._began, self._foreign = now, foreign
        return min(max(share, 0.0), 1.0)


def _foreign() -> float:
    """Seconds of processor time, by whatever is not this process and what it started."""
    spent = psutil.cpu_times()
    busy = sum(getattr(spent, kind) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
    return float(busy) - _own()


def _own() -> float:
    me = psutil.Process()
    times = me.cpu_times()
    own = times.user + times.system + times.children_user + times.children_system
    for child in me.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            own += times.user + times.system
    return float(own)

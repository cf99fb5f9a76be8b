"""When a service that is due must wait: after rebuilds that came to no verdict, and left it as due as it was.

A schedule and a person need not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from perennial.types import Job

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
"""After one such rebuild, and twice as long after each further one."""
NO_VERDICT = ("failed", "cancelled")
NEWEST = 7
"""The jobs to look at: so many pauses double to the longest one."""


def pausing(newest: Sequence[Job], now: float) -> bool:
    """`newest` are the service's last jobs, newest first; `now` is in epoch seconds."""
    rebuilds = [job for job in newest if job.kind == "rebuild"]
    vain = [*takewhile(lambda job: job.state in NO_VERDICT, rebuilds)]
    if not vain:
        return False
    pause_s = min(FIRST_PAUSE_S * 2.0 ** (len(vain) - 1), LONGEST_PAUSE_S)
    return now - (vain[0].finished_at or now) < pause_s

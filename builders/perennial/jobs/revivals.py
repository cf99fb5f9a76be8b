"""How often a process that dies is started again."""

from __future__ import annotations

import time

LONGEST_PAUSE_S, SETTLED_S = 32.0, 60.0


class Revivals:
    """When a process that has died may start again: after pauses that double while it soon dies again."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self._last = -SETTLED_S

    def due(self) -> bool:
        """Whether it may start now; a yes counts."""
        lived = time.monotonic() - self._last
        if lived > SETTLED_S:
            self.in_a_row = 0
        if lived < min(2.0 ** min(self.in_a_row, 10), LONGEST_PAUSE_S):
            return False
        self.in_a_row += 1
        self._last = time.monotonic()
        return True

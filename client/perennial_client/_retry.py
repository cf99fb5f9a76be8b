"""When to try again: how long to pause, and a budget so that clients do not make an outage worse."""

from __future__ import annotations

import random
import time
from threading import Lock

from perennial_client._errors import DeadlineExceeded

ATTEMPTS = 4
"""Of one request at most, the first included."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


def pause_after(attempt: int) -> float:
    """Seconds: exponential, with the jitter that keeps many clients from coming back at once."""
    return min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)


class Budget:
    """The token bucket of gRPC's retry throttling (gRFC A6), one for all calls of a client.

    A failure takes a token, a success gives a tenth of one back, and nothing is retried while the bucket
    is at most half full: in an outage a client soon sends each request once.
    """

    def __init__(self, tokens: float = 10.0, earned: float = 0.1) -> None:
        self._most = self._tokens = tokens
        self._earned = earned
        self._lock = Lock()

    def success(self) -> None:
        with self._lock:
            self._tokens = min(self._most, self._tokens + self._earned)

    def failure(self) -> bool:
        """Count a failure; True where the request may be sent again."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)
            return self._tokens > self._most / 2


class Deadline:
    """The end of a whole call, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self._at - time.monotonic())

    def exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"no answer within {self.seconds:g} s; give a longer timeout= or fewer rows in one call"
        )

"""Enqueues a rebuild once a service has enough fresh feedback, or fresh feedback that has waited long enough
and is enough to judge by.

Counts in memory and asks the store for the true figures only when its own say so, and now and then, since
other servers add rows and the worker takes them. It enqueues; it never learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from perennial.pauses import NEWEST, pausing
from perennial.split import ENOUGH_ROWS
from perennial.store_protocol import Store
from perennial.types import Backlog, ServiceRecord

LOOK_PERIOD_S = 5.0
QUIET_S = 1.0
"""After a job was enqueued it is open for a while, and asking again would give the same one."""
ANY_ATTEMPTS = 1
"""`Backlog.fresh` and `oldest_at` do not depend on how often a refused row is tried again."""


@dataclass
class _Guess:
    """Fresh rows and the oldest one's time: what the store said at `at`, and what came since.

    `asked` says that a rebuild was due then, for all rows there were, and was enqueued unless it must wait.
    """

    fresh: int
    oldest_at: float | None
    at: float
    asked: bool = False


class Trigger:
    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._guesses: dict[str, _Guess] = {}

    def added(self, service: ServiceRecord, rows: int) -> None:
        """`rows` of the service were just committed."""
        now, guess = self._now(), self._guesses.get(service.name)
        if guess:
            guess.fresh += rows
            guess.oldest_at = guess.oldest_at or now
        if guess is None or _worth_a_look(service, guess, now):
            self._look(service, now)

    def _look(self, service: ServiceRecord, now: float) -> None:
        backlog: Backlog = self._store.backlog(service.name, ANY_ATTEMPTS)
        reason = _reason(service, backlog.fresh, backlog.oldest_at, now)
        if not reason:
            self._guesses[service.name] = _Guess(backlog.fresh, backlog.oldest_at, now)
            return
        if not pausing(self._store.jobs(service.name, NEWEST), now):
            self._store.enqueue(service.name, "rebuild", reason, {})
        self._guesses[service.name] = _Guess(0, None, now, asked=True)


def _worth_a_look(service: ServiceRecord, guess: _Guess, now: float) -> bool:
    if guess.asked and now - guess.at < QUIET_S:
        return False
    return now - guess.at >= LOOK_PERIOD_S or bool(_reason(service, guess.fresh, guess.oldest_at, now))


def _reason(service: ServiceRecord, fresh: int, oldest_at: float | None, now: float) -> str:
    """Why the service is due; empty where it is not."""
    if fresh >= service.trigger_count:
        return f"{fresh} fresh rows (trigger_count {service.trigger_count})"
    waited = oldest_at is not None and now - oldest_at >= service.trigger_age_s
    if waited and fresh >= ENOUGH_ROWS:
        return f"feedback has waited for {service.trigger_age_s:g} s"
    return ""

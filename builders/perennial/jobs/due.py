"""When a service is due for a rebuild: enough feedback, feedback that has waited too long, its schedule, or
what feedback says (`drift`).

The feedback model sees the first two as rows arrive; both only enqueue, and a service has one open job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from croniter import croniter

from perennial.config import ServiceSettings
from perennial.jobs import data
from perennial.jobs.drift import error_rose, fell_below, labels_shifted
from perennial.jobs.workshop import Workshop
from perennial.pauses import NEWEST, pausing
from perennial.plugins import labels_of
from perennial.split import ENOUGH_ROWS
from perennial.types import Backlog, Bundle

CHECK_PERIOD_S = 2.0
MOST_ROWS = 5000
"""Of which a drift is sought: 20 ms."""
NEWEST_ROWS = 200
"""Whose accuracy counts."""


class Schedule:
    def __init__(self, shop: Workshop, now: Callable[[], float] = time.time) -> None:
        self._shop = shop
        self._now = now
        self._checked_at = now()

    def enqueue_due(self) -> None:
        now = self._now()
        if now - self._checked_at < CHECK_PERIOD_S:
            return
        since, self._checked_at = self._checked_at, now
        for service in self._shop.store.services():
            if reason := self._reason(service, since, now):
                self._shop.store.enqueue(service, "rebuild", reason, {}, self._shop.unused_release(service))

    def _reason(self, service: str, since: float, now: float) -> str:
        settings = self._shop.service(service)
        backlog = self._shop.store.backlog(service, settings.max_attempts)
        if settings.schedule and _strikes(settings.schedule, since, now):
            return f"schedule {settings.schedule}" if _enough(backlog) else ""
        reason = _overdue(settings, backlog, now)
        if not (reason or _enough(backlog)) or pausing(self._shop.store.jobs(service, NEWEST), now):
            return ""
        return reason or self._drifted(service, settings)

    def _drifted(self, service: str, settings: ServiceSettings) -> str:
        """What feedback that the serving release did not learn says of it."""
        if not (settings.trigger_drift or settings.trigger_drop or settings.trigger_shift):
            return ""
        store, release = self._shop.store, self._shop.publisher.serving(service)
        if not release:
            return ""
        if settings.trigger_drift and (rise := error_rose(store.prequential(service, release, MOST_ROWS))):
            return f"drift: {rise}"
        head = store.head(service, release) if settings.trigger_drop else None
        if head and head.figures.get("golden"):
            accuracy = head.figures["golden"]["before"]["accuracy"]
            right = store.prequential(service, release, NEWEST_ROWS)
            if fall := fell_below(right, accuracy, settings.trigger_drop):
                return f"drop: {fall}"
        if settings.trigger_shift:
            bundle = self._shop.bundle(service, release)
            kind = labels_of(bundle.manifest["task"]).kind
            waiting = (kind(row.label) for row in store.unlearned(service, limit=MOST_ROWS))
            if shift := labels_shifted(waiting, map(kind, _learned(bundle))):
                return f"shift: {shift}"
        return ""


def _learned(bundle: Bundle) -> list[str]:
    """The labels of feedback that a release remembers; of little, those of all that it does."""
    memory = data.read(bundle.folder / "data/memory.jsonl")
    said = [row.label for row in memory if row.row is not None]
    return said if len(said) >= ENOUGH_ROWS else [row.label for row in memory]


def _overdue(settings: ServiceSettings, backlog: Backlog, now: float) -> str:
    """Which rows have been waiting long enough; empty where none have."""
    if backlog.fresh >= settings.trigger_count:
        return f"{backlog.fresh} fresh rows"  # of which some came while the last job was open
    waited = backlog.oldest_at is not None and now - backlog.oldest_at > settings.trigger_age_s
    if waited and _enough(backlog):
        return f"feedback has waited for {settings.trigger_age_s:g} s"
    return ""


def _enough(backlog: Backlog) -> bool:
    """Whether what a rebuild would claim is most likely enough to judge it by. A trigger by count is not
    asked: it is its owner's word."""
    return backlog.fresh + backlog.waiting >= ENOUGH_ROWS


def _strikes(schedule: str, since: float, now: float) -> bool:
    """Whether a moment of the schedule, by the clock on the wall here, lies in (since, now] (epoch s)."""
    local = datetime.fromtimestamp(since).astimezone()  # given seconds, croniter would take them for UTC's
    return bool(croniter(schedule, local).get_next(float) <= now)

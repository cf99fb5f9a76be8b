"""A real store that tests of the feedback model watch, and the services that it knows."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.errors import Unavailable
from perennial.stores.sqlite import SqliteStore
from perennial.types import Backlog, NewFeedback, ServiceRecord

SENTIMENT = ServiceRecord(
    "sentiment", "classify", ("negative", "positive"), max_text_bytes=40, trigger_count=4
)
STRICT = ServiceRecord("strict", "classify", ("negative", "positive"), require_prediction_id=True)


class WatchedStore(SqliteStore):
    """A real store that counts what it is asked, and is away when told so."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.away = False
        self.looks = self.commits = self.reads = 0

    def add_feedback(self, rows: Sequence[NewFeedback]) -> list[str]:
        self.commits += 1
        if self.away:
            raise Unavailable("the store is away")
        return super().add_feedback(rows)

    def backlog(self, service: str, max_attempts: int) -> Backlog:
        self.looks += 1
        if self.away:
            raise Unavailable("the store is away")
        return super().backlog(service, max_attempts)

    def services(self) -> dict[str, ServiceRecord]:
        self.reads += 1
        return super().services()

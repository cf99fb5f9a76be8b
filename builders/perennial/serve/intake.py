"""Takes feedback in: one durable commit for all good rows of a batch of requests, an error for each bad one.

Knows neither Triton nor SQL. The rules of a row are in `feedback_rows`; when a rebuild is due, in `trigger`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from perennial.errors import Conflict, PerennialError
from perennial.serve.checks import KnownServices, Outcome
from perennial.serve.feedback_rows import read, where
from perennial.serve.trigger import Trigger
from perennial.store_protocol import Store
from perennial.types import NewFeedback, Tensors


class Intake:
    def __init__(self, store: Store, key: bytes) -> None:
        """`key` is the one that prediction ids are signed with."""
        self._store = store
        self._key = key
        self._services = KnownServices(store)
        self._trigger = Trigger(store)

    def take(self, requests: Sequence[Tensors]) -> list[Outcome]:
        """Each request is stored whole or not at all, and its neighbours whatever becomes of it."""
        try:
            self._services.begin_batch()
        except PerennialError as error:
            return [error] * len(requests)
        checked = [self._check(request) for request in requests]
        rows = {place: rows for place, rows in enumerate(checked) if isinstance(rows, list)}
        committed = self._commit(rows)
        self._tell_trigger(
            [row for place in rows if isinstance(committed[place], list) for row in rows[place]]
        )
        return [committed[place] if isinstance(found, list) else found for place, found in enumerate(checked)]

    def _check(self, request: Tensors) -> list[NewFeedback] | PerennialError:
        try:
            return read(request, self._services.named, self._key)
        except PerennialError as error:
            return error

    def _commit(self, batches: dict[int, list[NewFeedback]]) -> dict[int, Outcome]:
        """Leaves out one conflicting request after the other until the rest is committed, together.

        That is what taking the requests one by one would give: the first conflict in their order is no fault
        of a later one.
        """
        outcomes: dict[int, Outcome] = {}
        while left := {place: rows for place, rows in batches.items() if place not in outcomes}:
            try:
                receipts = iter(self._store.add_feedback([row for rows in left.values() for row in rows]))
                outcomes |= {place: [next(receipts) for _ in rows] for place, rows in left.items()}
            except Conflict as conflict:
                place, row = _locate(left, conflict)
                outcomes[place] = Conflict(where(row, len(left[place])) + conflict.reason)
            except PerennialError as error:
                outcomes |= dict.fromkeys(left, error)
        return outcomes

    def _tell_trigger(self, rows: Sequence[NewFeedback]) -> None:
        for name, count in Counter(row.service for row in rows).items():
            try:
                self._trigger.added(self._services.named(name), count)
            except PerennialError as error:  # the rows are durable, and their senders must hear so
                logging.getLogger(__name__).warning("cannot enqueue a rebuild of %s: %s", name, error)


def _locate(batches: dict[int, list[NewFeedback]], conflict: Conflict) -> tuple[int, int]:
    """The request that holds the row of a conflict, and the row's position in it."""
    row = conflict.row or 0
    for place, rows in batches.items():
        if row < len(rows):
            return place, row
        row -= len(rows)
    raise conflict

"""Looks for new feedback in the store, and has the codec encode with it in mind.

Without the worker: a click counts in the user's next request as soon as it is durable, and in what is asked
next so does a text that somebody wanted. What a user took counts for good. Of other feedback the codec is
told which the release, or one that it came from, has learned: told of that again, a language model answered
worse.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from perennial.heads import LOOK_EVERY_S
from perennial.plugins import labels_of
from perennial.serve.polite import politely
from perennial.serve.stage import STORE_URL, Opened
from perennial.serve.visits import Visits
from perennial.store_protocol import Store
from perennial.task_protocol import Recalling as Codec
from perennial.types import FeedbackRow

NEWEST, A_PAGE = 100_000, 5_000
"""Rows that a stage which starts reads again, and how many at once."""


def recalling(opened: Opened) -> Recalling | None:
    """None where there is no store, or answers do not hang on what was said of others."""
    url = os.environ.get(STORE_URL)
    recalls = opened.release.recall and labels_of(opened.release.task).recalls
    return Recalling(opened, url) if url and recalls else None


class Recalling:
    def __init__(self, opened: Opened, store_url: str) -> None:
        self._service, self._codec = opened.release.service, cast(Codec, opened.codec)
        self._for_good = labels_of(opened.release.task).of_users
        self._learned = frozenset(() if self._for_good else opened.release.learned)
        self._known: int | None = None
        self._generation = 0
        self._visits = Visits(store_url, LOOK_EVERY_S, self._look, "answers know no feedback that is newer")
        politely(self._visits.now)
        self._visits.start()

    def stop(self) -> None:
        self._visits.stop()

    def _look(self, store: Store) -> None:
        if (generation := store.head_orders(self._service).generation) != self._generation:
            self._codec.forget_feedback()  # rows were deleted
            self._known, self._generation = None, generation
        known = self._known
        if known is None:
            known = max(0, store.newest_row(self._service) - NEWEST)
        while rows := store.feedback(self._service, known, A_PAGE):
            learned = set() if self._for_good else self._learned_of(store, known, rows)
            self._codec.take_feedback(
                [row for row in rows if row.row not in learned], [row for row in rows if row.row in learned]
            )
            known = rows[-1].row
        self._known = known

    def _learned_of(self, store: Store, known: int, rows: Sequence[FeedbackRow]) -> set[int]:
        """The numbers of the rows after `known` that the release has learned, or one that it came from."""
        unlearned = {row.row for row in store.unlearned(self._service, known, A_PAGE)}
        return {row.row for row in rows} - (unlearned - self._learned)

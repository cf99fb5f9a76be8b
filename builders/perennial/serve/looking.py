"""Looks for what is newer in the store than the release, its head and documents, and has the codec answer
with it."""

from __future__ import annotations

import os
from typing import cast

import numpy as np

from perennial.heads import LOOK_EVERY_S
from perennial.plugins import labels_of
from perennial.serve.polite import politely
from perennial.serve.stage import STORE_URL, Opened
from perennial.serve.visits import Visits
from perennial.store_protocol import Store
from perennial.task_protocol import Placing


def looking(opened: Opened) -> Looking | None:
    """None where there is no store, or nothing that a head could learn on."""
    url = os.environ.get(STORE_URL)
    return Looking(opened, url) if url and opened.codec.feature_size else None


class Looking:
    def __init__(self, opened: Opened, store_url: str) -> None:
        self._opened, self.version, self._placed = opened, 0, 0
        self._finds = labels_of(opened.release.task).of_documents
        self._visits = Visits(store_url, LOOK_EVERY_S, self._look, "answers keep the head that they have")
        politely(self._visits.now)  # the first answer has the head in force
        self._visits.start()

    def stop(self) -> None:
        self._visits.stop()

    def _look(self, store: Store) -> None:
        release, codec = self._opened.release, self._opened.codec
        head = store.head(release.service, release.release, self.version)
        if head:
            weights = np.frombuffer(head.weights, np.float32).reshape(codec.feature_size + 1, -1)
            codec.take_head(weights)
            self.version = head.version
        if self._finds and (changes := store.placed(release.service, release.release, self._placed)):
            cast(Placing, codec).take_documents(changes)
            self._placed = changes[-1].version

"""Keeps a share of the texts that were answered, for candidates to answer off line before they serve.

Best effort: texts wait in memory for a second, or until a store that is away is back, and a full queue lets
go of its oldest ones. A kill loses those that wait.
"""

from __future__ import annotations

from collections import deque
from random import random

from perennial.repository.layout import Release
from perennial.serve.visits import Visits
from perennial.store_protocol import Store
from perennial.types import Array

COMMIT_EVERY_S = 1.0


class Sampling:
    def __init__(self, release: Release, store_url: str) -> None:
        self._release = release
        self._waiting: deque[str] = deque(maxlen=release.shadow_texts)
        self._visits = Visits(
            store_url, COMMIT_EVERY_S, self._keep, "the sample of texts does not grow meanwhile"
        )
        self._visits.start()

    def take(self, texts: Array) -> None:
        """Texts as they are on the wire; one with a NUL, which PostgreSQL does not store, is left out."""
        for raw in texts.ravel():
            if random() < self._release.shadow_share and b"\0" not in raw:
                self._waiting.append(raw.decode(errors="replace"))

    def stop(self) -> None:
        """With a last visit, by which what waits is kept."""
        self._visits.stop(last=True)

    def _keep(self, store: Store) -> None:
        texts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if texts:
            store.add_requests(self._release.service, texts, self._release.shadow_texts)

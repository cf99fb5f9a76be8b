"""Keeps a share of the texts that were answered, for candidates to answer off line before they serve.

Best effort, and never in an answer's way: texts wait in memory for at most a second, a full queue lets go of
its oldest ones, and so does a store that is away. A kill loses those that wait.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from random import random

from perennial.errors import PerennialError
from perennial.protocols import Store
from perennial.repository.layout import Release
from perennial.types import Array

COMMIT_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Sampling:
    def __init__(self, release: Release, store_url: str) -> None:
        self._release, self._store_url = release, store_url
        self._waiting: deque[str] = deque(maxlen=release.shadow_texts)
        self._store: Store | None = None
        self._away = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeping a sample of texts", daemon=True)
        self._thread.start()

    def take(self, texts: Array) -> None:
        """Texts as they are on the wire; one with a NUL, which PostgreSQL does not store, is left out."""
        for raw in texts.ravel():
            if random() < self._release.shadow_share and b"\0" not in raw:
                self._waiting.append(raw.decode(errors="replace"))

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        if self._store:
            self._store.close()

    def _run(self) -> None:
        while not self._stopping.wait(COMMIT_EVERY_S):
            self._keep()
        self._keep()

    def _keep(self) -> None:
        texts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not texts:
            return
        try:
            if self._store is None:
                from perennial.stores import open_store

                self._store = open_store(self._store_url)
            self._store.add_requests(self._release.service, texts, self._release.shadow_texts)
            self._away = False
        except PerennialError as error:
            if not self._away:
                _log.warning("%s; the sample of texts does not grow meanwhile", error)
            self._away = True

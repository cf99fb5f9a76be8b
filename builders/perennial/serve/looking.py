"""Looks for a newer head of the release in the store, and has the codec answer with it.

Answers do not wait for the store, and do not need it: while it is away, the head that is known stays.
"""

from __future__ import annotations

import logging
import os
import threading

import numpy as np

from perennial.errors import PerennialError
from perennial.heads import LOOK_EVERY_S
from perennial.protocols import Store
from perennial.serve.polite import politely
from perennial.serve.stage import STORE_URL, Opened

PAUSE_S = 2.0

_log = logging.getLogger(__name__)


def looking(opened: Opened) -> Looking | None:
    """None where there is no store, or nothing that a head could learn on."""
    url = os.environ.get(STORE_URL)
    return Looking(opened, url) if url and opened.codec.feature_size else None


class Looking:
    def __init__(self, opened: Opened, store_url: str) -> None:
        self._opened, self._store_url = opened, store_url
        self.version = 0
        self._store: Store | None = None
        self._stopping = threading.Event()
        politely(self._begin)
        self._thread = threading.Thread(target=self._run, name="looking for heads", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        if self._store:
            self._store.close()

    def _begin(self) -> None:
        """With the head in force, so that the first answer has it."""
        try:
            self._look()
        except PerennialError as error:
            _log.warning("%s; answers are the release's own", error)

    def _run(self) -> None:
        pause = LOOK_EVERY_S
        while not self._stopping.wait(pause):
            try:
                self._look()
                pause = LOOK_EVERY_S
            except PerennialError as error:
                if pause == LOOK_EVERY_S:
                    _log.warning("%s; answers keep the head that they have", error)
                pause = PAUSE_S

    def _look(self) -> None:
        if self._store is None:
            from perennial.stores import open_store

            self._store = open_store(self._store_url)
        release, codec = self._opened.release, self._opened.codec
        head = self._store.head(release.service, release.release, self.version)
        if head:
            weights = np.frombuffer(head.weights, np.float32).reshape(codec.feature_size + 1, -1)
            codec.take_head(weights)
            self.version = head.version

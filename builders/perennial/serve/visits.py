"""What a stage does with the store beside its answers, which neither wait for it nor need it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from perennial.errors import PerennialError
from perennial.store_protocol import Store

PAUSE_S = 2.0
"""Between visits while the store is away."""

_log = logging.getLogger(__name__)


class Visits:
    """Calls `visit` with the store every so many seconds, from `start` to `stop`. The store is opened by the
    first visit; one that is away is told once, with `meanwhile`, which says what that means."""

    def __init__(self, url: str, every_s: float, visit: Callable[[Store], None], meanwhile: str) -> None:
        self._url, self._every_s, self._visit, self._meanwhile = url, every_s, visit, meanwhile
        self._store: Store | None = None
        self._away = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=meanwhile, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, last: bool = False) -> None:
        """After a `last` visit, if asked for."""
        self._stopping.set()
        self._thread.join()
        if last:
            self.now()
        if self._store:
            self._store.close()

    def now(self) -> None:
        """One visit; `start` and `stop` see to it that no other is under way."""
        try:
            if self._store is None:
                from perennial.stores import open_store

                self._store = open_store(self._url)
            self._visit(self._store)
            self._away = False
        except PerennialError as error:
            if not self._away:
                _log.warning("%s; %s", error, self._meanwhile)
            self._away = True

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_S if self._away else self._every_s):
            self.now()

"""Asks the worker, by way of the store, why a text is answered as it is, and waits for what it tells.

Only the worker knows: it has the head's statistics and every row's features. Knows neither Triton nor SQL.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from perennial.errors import BadRequest, PerennialError, Unavailable
from perennial.serve.checks import KnownServices, Outcome, asked_text, decoded
from perennial.store_protocol import WORKER, Store
from perennial.types import Tensors

MOST = 100
"""Causes of either kind that can be asked for."""
USUAL = np.array(8)
POLL_S = 0.05
PATIENCE_S = 8.0
"""A client gives a call 10 seconds unless told otherwise."""


class Inquiries:
    def __init__(self, store: Store, patience_s: float = PATIENCE_S) -> None:
        self._store, self._patience_s = store, patience_s

    def take(self, requests: Sequence[Tensors]) -> list[Outcome]:
        """JSON for each request, which holds one text; or its error."""
        return [self._outcome(request) for request in requests]

    def _outcome(self, request: Tensors) -> Outcome:
        try:
            number = self._ask(request)
            try:
                return [json.dumps(self._told(number))]
            finally:
                self._store.drop_inquiry(number)
        except PerennialError as error:
            return error

    def _ask(self, request: Tensors) -> int:
        service = KnownServices(self._store).named(decoded("SERVICE", request["SERVICE"].item()))
        text, most = asked_text(request["TEXT"].item(), service), int(request.get("MOST", USUAL).item())
        if not 1 <= most <= MOST:
            raise BadRequest(f"MOST is {most} and must be from 1 to {MOST}")
        if self._store.lease(WORKER) is None:
            raise Unavailable("no worker runs, and it alone knows why; start one: perennial worker")
        return self._store.inquire(service.name, text, most)

    def _told(self, number: int) -> dict[str, Any]:
        ends_at = time.monotonic() + self._patience_s
        while time.monotonic() < ends_at:
            if told := self._store.told(number):
                if "error" in told:
                    raise Unavailable(told["error"])
                return told
            time.sleep(POLL_S)
        raise Unavailable(f"the worker told nothing within {self._patience_s:g} s: it is busy; ask again")

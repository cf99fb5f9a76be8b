"""The model `index`: keeps documents that a service is to find from now on, or no longer.

Leaves Triton to `desk`, and what a row may say to `documents`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from perennial.serve.desk import Desk, read
from perennial.serve.documents import Documents

AWAY = "the store cannot be reached now, and it keeps the documents; send them again in a while"


class Index:
    def initialize(self, args: Mapping[str, str]) -> None:  # noqa: ARG002
        self._desk = Desk(lambda store: Documents(store).take, "CHANGE", AWAY)
        self._thread = ThreadPoolExecutor(1, "index")  # a database writes for one at a time

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            self._thread.submit(self._desk.answer, [read(request)])

    def finalize(self) -> None:
        self._thread.shutdown()
        self._desk.close()

"""The model `why`: hands on the question why a text is answered as it is, and the worker's answer to it.

Leaves Triton to `desk`, and the question to `inquiries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from perennial.serve.desk import Desk, read
from perennial.serve.inquiries import Inquiries
from perennial.store_protocol import MAX_INQUIRIES

AWAY = "the store cannot be reached now, and the answer would come by way of it; ask again in a while"


class Why:
    def initialize(self, args: Mapping[str, str]) -> None:  # noqa: ARG002
        self._desk = Desk(lambda store: Inquiries(store).take, "CAUSES", AWAY)
        # Each waits on a thread, and the one more tells whoever comes then that all wait.
        self._threads = ThreadPoolExecutor(MAX_INQUIRIES + 1, "why")

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            self._threads.submit(self._desk.answer, [read(request)])

    def finalize(self) -> None:
        self._threads.shutdown()
        self._desk.close()

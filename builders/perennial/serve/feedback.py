"""The feedback model: acknowledges what users say of answers, once it is durable.

Leaves Triton to `desk`, and what a row must be, the commit and the trigger to `intake`. `execute` only takes
requests in: the line's thread answers them, so that Triton hands over the next ones during a commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perennial.errors import Unavailable
from perennial.serve.desk import Desk, read, setting
from perennial.serve.intake import Intake
from perennial.serve.line import Line
from perennial.serve.stage import KEY_FILE

AWAY = "the store cannot be reached now; send the same rows, with the same KEYs, again in a while"
MAX_WAITING_ROWS = 16_384
MAX_COMMIT_ROWS = 1024


class Feedback:
    def initialize(self, args: Mapping[str, str]) -> None:  # noqa: ARG002
        key = bytes.fromhex(Path(setting(KEY_FILE)).read_text().strip())
        self._desk = Desk(lambda store: Intake(store, key).take, "RECEIPT", AWAY)
        self._line = Line(self._desk.answer, MAX_WAITING_ROWS, MAX_COMMIT_ROWS, "to be stored")

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            asked = read(request)
            try:
                self._line.join(asked, asked.rows)
            except Unavailable as error:
                self._desk.tell(asked, error)

    def finalize(self) -> None:
        self._line.close()
        self._desk.close()

"""The first stage: checks what was asked, and turns it into what the engine takes.

A few rows are encoded at once, and answered together, which is quickest. More at a time mean that Triton's
queue had filled meanwhile, and it has no bound: so they go into a line that has one, and so does what comes
while any wait there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perennial.errors import BadRequest
from perennial.serve import stage
from perennial.serve.crew import Reply
from perennial.serve.line import Line
from perennial.serve.polite import politely
from perennial.serve.recalling import recalling
from perennial.task_protocol import Codec
from perennial.timings import arrived, now, stamped
from perennial.types import Tensors

FEW_ROWS = 8
MAX_WAITING_ROWS = 256
"""As many as may wait for the engine."""
TOGETHER_ROWS = 64


class Tokenizer:
    def initialize(self, args: Mapping[str, str]) -> None:
        opened = politely(lambda: _open(args))
        self._codec, self._recalling = opened.codec, recalling(opened)
        self._line = Line(self._serve, MAX_WAITING_ROWS, TOGETHER_ROWS, "for the tokenizer")

    def execute(self, requests: Sequence[Any]) -> list[Any] | None:
        if self._line.idle and sum(map(stage.rows, requests)) <= FEW_ROWS:
            return stage.respond(requests, self._encode)
        stage.respond_later(requests, self._join)
        return None

    def finalize(self) -> None:
        self._line.close()
        if self._recalling:
            self._recalling.stop()

    def _join(self, asked: Tensors, reply: Reply) -> None:
        self._line.join((arrived(asked), reply), len(next(iter(asked.values()))))

    def _serve(self, waiting: Sequence[tuple[Tensors, Reply]]) -> None:
        stage.settle(waiting, self._encode)

    def _encode(self, asked: Sequence[Tensors]) -> list[Tensors | Exception]:
        began = now()
        faults = [_fault(self._codec, request) for request in asked]
        fine = [request for request, fault in zip(asked, faults, strict=True) if fault is None]
        encoded = zip(fine, self._codec.encode(fine), strict=True)
        return [fault or stamped(*next(encoded), began) for fault in faults]


def _open(args: Mapping[str, str]) -> stage.Opened:
    opened = stage.open_release(args)
    opened.codec.encode(opened.warmup())
    return opened


def _fault(codec: Codec, request: Tensors) -> BadRequest | None:
    try:
        codec.check(request)
    except BadRequest as error:
        return error
    return None

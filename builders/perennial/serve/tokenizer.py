"""The first stage: checks what was asked, and turns it into what the engine takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perennial.errors import BadRequest
from perennial.protocols import Codec
from perennial.serve import stage
from perennial.serve.polite import politely
from perennial.types import Tensors


class Tokenizer:
    def initialize(self, args: Mapping[str, str]) -> None:
        self._codec = politely(lambda: _open(args))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return stage.respond(requests, self._encode)

    def _encode(self, asked: Sequence[Tensors]) -> list[Tensors | Exception]:
        faults = [_fault(self._codec, request) for request in asked]
        fine = [request for request, fault in zip(asked, faults, strict=True) if fault is None]
        encoded = iter(self._codec.encode(fine))
        return [fault or next(encoded) for fault in faults]


def _open(args: Mapping[str, str]) -> Codec:
    opened = stage.open_release(args)
    opened.codec.encode(opened.warmup())
    return opened.codec


def _fault(codec: Codec, request: Tensors) -> BadRequest | None:
    try:
        codec.check(request)
    except BadRequest as error:
        return error
    return None

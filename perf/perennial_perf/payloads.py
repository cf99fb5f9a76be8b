"""Requests as bytes, made ahead of a load, and replies read after it: the load itself parses nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tritonclient.grpc import service_pb2 as messages

from perennial_client import Answer, Feedback, _grpc, _wire


def questions(service: str, texts: Sequence[str], top_k: int | None = None) -> list[bytes]:
    """One request a text."""
    return [_bytes(_wire.question(service, [text], top_k)) for text in texts]


def feedback(batches: Sequence[Sequence[Feedback]]) -> list[bytes]:
    """One request a batch, of at most 256 rows."""
    return [_bytes(_wire.feedback(batch)) for batch in batches]


def answer(service: str, text: str, reply: bytes) -> Answer:
    return _wire.answers(service, [text], _tensors(reply))[0]


def receipts(batch: Sequence[Feedback], reply: bytes) -> list[str]:
    return _wire.receipts(batch, _tensors(reply))


def _bytes(call: _wire.Infer) -> bytes:
    serialised: bytes = _grpc.infer_request(call).SerializeToString()
    return serialised


def _tensors(reply: bytes) -> _wire.Reply:
    return _grpc.infer_reply(messages.ModelInferResponse.FromString(reply))

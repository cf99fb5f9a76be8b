"""Requests as bytes, made ahead of a load, and replies read after it: the load itself parses nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tritonclient.grpc import service_pb2 as messages

from perennial_client import Answer, Feedback, _grpc, _http, _wire
from perennial_perf.connections import Wire


def questions(service: str, texts: Sequence[str], top_k: int | None = None) -> list[bytes]:
    """One request a text."""
    return [_bytes(_wire.question(service, [text], top_k)) for text in texts]


def asked(service: str, texts: Sequence[str], writes: bool) -> tuple[Wire, list[bytes]]:
    """One request a text, to a service of any task, and what carries them: gRPC, but of one that `writes`
    Triton's `generate`, since such a service may answer in pieces."""
    if writes:
        return "http", [http_json(f"/v2/models/{service}/generate", {"TEXT": text}) for text in texts]
    return "grpc", [
        _bytes(_wire.Infer(service, {"TEXT": _wire.Tensor("BYTES", (1, 1), [text])}, ("PREDICTION_ID",)))
        for text in texts
    ]


def queries(service: str, texts: Sequence[str], top_k: int) -> list[bytes]:
    """One request a text, for its nearest documents; for its vector alone where `top_k` is 0."""
    if top_k:
        return [_bytes(_wire.queries(service, [text], top_k)) for text in texts]
    return [_bytes(_wire.texts_to_embed(service, [text], None)) for text in texts]


def suggestions(service: str, contexts: Sequence[str], top_k: int) -> list[bytes]:
    """One request a context, for what its user may want next."""
    return [_bytes(_wire.suggestions(service, [context], top_k)) for context in contexts]


def http_questions(service: str, texts: Sequence[str]) -> list[bytes]:
    """The same as whole HTTP requests, in Triton's JSON."""
    path = f"/v2/models/{service}/infer"
    return [http_post(path, _http.infer_body(_wire.question(service, [text], None))) for text in texts]


def http_json(path: str, body: Any) -> bytes:
    return http_post(path, json.dumps(body, ensure_ascii=False).encode())


def http_post(path: str, body: bytes) -> bytes:
    """A whole HTTP request with a body of JSON; the reply is asked for as it is, not packed."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Accept-Encoding: identity\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def feedback(batches: Sequence[Sequence[Feedback]]) -> list[bytes]:
    """One request a batch, of at most 256 rows."""
    return [_bytes(_wire.feedback(batch)) for batch in batches]


def answer(service: str, text: str, reply: bytes) -> Answer:
    return _wire.answers(service, [text], _tensors(reply))[0]


def http_answer(service: str, text: str, reply: bytes) -> Answer:
    return _wire.answers(service, [text], _http.infer_reply(reply))[0]


def receipts(batch: Sequence[Feedback], reply: bytes) -> list[str]:
    return _wire.receipts(batch, _tensors(reply))


def _bytes(call: _wire.Infer) -> bytes:
    serialised: bytes = _grpc.infer_request(call).SerializeToString()
    return serialised


def _tensors(reply: bytes) -> _wire.Reply:
    return _grpc.infer_reply(messages.ModelInferResponse.FromString(reply))

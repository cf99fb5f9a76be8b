"""A server that speaks Triton's wire over HTTP and gRPC, and fails as it is told to.

It answers every text with `positive`, abstains on `?`, finds texts over 50 characters too long, and hands out
receipts. `faults` are taken one a request: a gRPC status name, or a number of seconds to sleep first.
"""

from __future__ import annotations

import json
import struct
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

# What Triton 2.51 makes of an error's code over HTTP; ALREADY_EXISTS has no 409 there.
STATUS = {
    "INVALID_ARGUMENT": 400,
    "ALREADY_EXISTS": 400,
    "NOT_FOUND": 404,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
LABELS = ["positive", "neutral", "negative"]
SERVED = ("sentiment", "sentiment_timed", "feedback", "why", "names")

Column = tuple[str, list[int], list[Any]]
"""A tensor as datatype, shape and flat values."""


class Refused(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


_WHY = {
    "release": 3,
    "label": "positive",
    "over": "neutral",
    "release_alone": "neutral",
    "rows": 2,
    "corrections": [{"push": 0.25, "label": "positive", "row": 7, "receipt": "01J", "line": None}],
    "taught": [{"push": -0.125, "label": "neutral", "row": None, "receipt": None, "line": 5}],
}


@dataclass
class Wire:
    """What the fake does, and `seen`, the model and the input columns of each request."""

    faults: deque[str | float] = field(default_factory=deque)
    reason: str = "asked to fail"
    seen: list[tuple[str, dict[str, list[Any]]]] = field(default_factory=list)

    def infer(self, model: str, columns: dict[str, list[Any]]) -> dict[str, Column]:
        self.seen.append((model, columns))
        fault = self.faults.popleft() if self.faults else 0.0
        if isinstance(fault, str):
            raise Refused(fault, self.reason)
        time.sleep(fault)
        if not self.ready(model):
            raise Refused("NOT_FOUND", f"Request for unknown model: '{model}' is not found")
        texts = columns["TEXT"]
        if model == "feedback":
            return {"RECEIPT": ("BYTES", [len(texts), 1], [f"receipt-{key}" for key in columns["KEY"]])}
        if model == "names":
            return _spans(texts)
        if model == "why":
            return {"CAUSES": ("BYTES", [1, 1], [json.dumps(_WHY)])}
        return _answers(model, texts, columns.get("TOP_K", [1])[0])

    def ready(self, model: str) -> bool:
        return model in SERVED


def _answers(model: str, texts: list[str], top: int) -> dict[str, Column]:
    rows = len(texts)
    return {
        "LABEL": ("BYTES", [rows, 1], ["" if text == "?" else "positive" for text in texts]),
        "SCORE": ("FP32", [rows, 1], [0.5] * rows),
        "TRUNCATED": ("BOOL", [rows, 1], [len(text) > 50 for text in texts]),
        "TOP_LABELS": ("BYTES", [rows, top], LABELS[:top] * rows),
        "TOP_SCORES": ("FP32", [rows, top], [0.5, 0.25, 0.125][:top] * rows),
        "TIMINGS": ("FP32", [rows, 4], [1.5, 0.25, 4.0, 0.5] * rows),
        "PREDICTION_ID": ("BYTES", [rows, 1], [f"{model}.3.{number:026}.TAG" for number in range(rows)]),
    }


def _spans(texts: list[str]) -> dict[str, Column]:
    """The first word of each text but `?`."""
    found = [
        [] if text == "?" else [{"start": 0, "end": len(text.split()[0]), "label": "PER", "score": 0.5}]
        for text in texts
    ]
    ids = [f"names.3.{number:026}.TAG" for number in range(len(texts))]
    return {
        "SPANS": ("BYTES", [len(texts), 1], [json.dumps(one) for one in found]),
        "TRUNCATED": ("BOOL", [len(texts), 1], [False] * len(texts)),
        "PREDICTION_ID": ("BYTES", [len(texts), 1], ids),
    }


class FakeServer:
    """`Wire` on two ports of the loopback address, from `with` until its end."""

    def __init__(self, http_port: int = 0, grpc_port: int = 0) -> None:
        self.wire = Wire()
        self._http = _Http(("127.0.0.1", http_port), _Handler)
        self._http.wire = self.wire
        self._grpc = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        add_GRPCInferenceServiceServicer_to_server(_Servicer(self.wire), self._grpc)
        self.http_port = self._http.server_address[1]
        self.grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{grpc_port}")

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.grpc_port if scheme == 'grpc' else self.http_port}"

    def __enter__(self) -> FakeServer:
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self._grpc.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.hang_up()
        self._http.server_close()


NO_SUCH_PATH = {"error": "the fake has no such path"}


class _Http(ThreadingHTTPServer):
    wire: Wire
    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: list[Any] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, as one does at its deadline, is no error of the server's."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """As a killed server does to the connections that its clients keep."""
        for connection in self._open:
            self.shutdown_request(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, else each reply waits 40 ms for an acknowledgement
    server: _Http

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/generate_stream"):
            self._reply(200, {})  # no event
            return
        if not self.path.endswith("/infer"):
            self._reply(404, NO_SUCH_PATH)
            return
        model = self.path.split("/")[3]
        try:
            outputs = self.server.wire.infer(model, {one["name"]: one["data"] for one in body["inputs"]})
        except Refused as refused:
            self._reply(STATUS[refused.code], {"error": str(refused)})
            return
        asked = [one["name"] for one in body["outputs"]]
        rows = [
            dict(zip(("datatype", "shape", "data"), outputs[name], strict=True), name=name) for name in asked
        ]
        self._reply(200, {"model_name": model, "model_version": "3", "outputs": rows})

    def do_GET(self) -> None:
        if not self.path.startswith("/v2/models/"):
            self._reply(404, NO_SUCH_PATH)
            return
        self._reply(200 if self.server.wire.ready(self.path.split("/")[3]) else 400, {})

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Keep the tests' output clean."""


class _Servicer(GRPCInferenceServiceServicer):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        """Ends without an answer, once it has heard all: a client that still writes would fail at that."""
        yield from (_ for _ in requests if False)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        columns = {one.name: _values(one) for one in request.inputs}
        try:
            outputs = self._wire.infer(request.model_name, columns)
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.code], str(refused))
        reply = messages.ModelInferResponse(model_name=request.model_name, model_version="3")
        for name in (one.name for one in request.outputs):
            datatype, shape, values = outputs[name]
            reply.outputs.add(name=name, datatype=datatype, shape=shape)
            reply.raw_output_contents.append(b"".join(_ENCODE[datatype](value) for value in values))
        return reply

    def ModelReady(self, request: Any, context: Any) -> Any:
        return messages.ModelReadyResponse(ready=self._wire.ready(request.name))


def _json(datatype: str, shape: list[int], values: list[Any]) -> dict[str, Any]:
    return {"datatype": datatype, "shape": shape, "data": values}


def _values(one: Any) -> list[Any]:
    if one.datatype == "BYTES":
        return [value.decode() for value in one.contents.bytes_contents]
    return list(one.contents.int_contents)


def _string(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


_ENCODE = {
    "BYTES": _string,
    "FP32": lambda value: struct.pack("<f", value),
    "BOOL": lambda value: struct.pack("?", value),
}

"""Triton's gRPC protocol over grpcio, with the messages that tritonclient ships."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import urlsplit

import grpc
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from perennial_client._errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    NotFound,
    PerennialClientError,
    Unavailable,
    failure,
    kind_in_words,
    unanswered,
)
from perennial_client._wire import Call, Infer, Ready, Reply, Tensor

_KINDS: dict[grpc.StatusCode, type[PerennialClientError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.RESOURCE_EXHAUSTED: BadRequest,  # a message over the server's limit
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}

# By default a channel whose server restarts waits up to two minutes before it tries to connect again.
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

_CONTENTS = {"BYTES": "bytes_contents", "INT32": "int_contents", "BOOL": "bool_contents"}


class GrpcTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        self._channel = grpc.insecure_channel(urlsplit(url).netloc, options=_OPTIONS)
        self._stub = GRPCInferenceServiceStub(self._channel)

    def send(self, call: Call, timeout: float) -> Reply:
        if isinstance(call, Infer) and call.in_pieces:
            for reply in self.stream(call, timeout):
                return reply
            raise unanswered(self._url)
        method, message = _request(self._stub, call)
        try:
            return _reply(self._url, call, method(message, timeout=timeout))
        except grpc.RpcError as error:
            raise _failure(self._url, error) from error

    def stream(self, call: Infer, timeout: float) -> Generator[Reply, None, None]:
        request, began = infer_request(call), time.monotonic()
        with suppress(grpc.RpcError):  # whoever asks in vain is told why
            _past_the_ensemble(request, call, self._stub.ModelMetadata(_about(call), timeout=timeout))
        left = timeout - (time.monotonic() - began)
        replies = self._stub.ModelStreamInfer(iter([request]), timeout=max(left, 0))
        try:
            for reply in replies:
                yield _piece(self._url, reply)
        except grpc.RpcError as error:
            raise _failure(self._url, error) from error
        finally:
            replies.cancel()

    def close(self) -> None:
        self._channel.close()


class AsyncGrpcTransport:
    """Opens its channel at the first call: that runs inside the event loop which the channel belongs to."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._channel: Any = None
        self._stub: Any = None

    async def send(self, call: Call, timeout: float) -> Reply:
        if isinstance(call, Infer) and call.in_pieces:
            async with aclosing(self.stream(call, timeout)) as replies:
                async for reply in replies:
                    return reply
            raise unanswered(self._url)
        self._open()
        method, message = _request(self._stub, call)
        try:
            return _reply(self._url, call, await method(message, timeout=timeout))
        except grpc.RpcError as error:
            raise _failure(self._url, error) from error

    async def stream(self, call: Infer, timeout: float) -> AsyncGenerator[Reply, None]:
        self._open()
        request, began = infer_request(call), time.monotonic()
        with suppress(grpc.RpcError):
            _past_the_ensemble(request, call, await self._stub.ModelMetadata(_about(call), timeout=timeout))
        left = timeout - (time.monotonic() - began)
        replies = self._stub.ModelStreamInfer(iter([request]), timeout=max(left, 0))
        try:
            async for reply in replies:
                yield _piece(self._url, reply)
        except grpc.RpcError as error:
            raise _failure(self._url, error) from error
        finally:
            replies.cancel()

    def _open(self) -> None:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(urlsplit(self._url).netloc, options=_OPTIONS)
            self._stub = GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()


def _about(call: Infer) -> Any:
    return messages.ModelMetadataRequest(name=call.model)


def _past_the_ensemble(request: Any, call: Infer, told: Any) -> None:
    """Ask the ensemble's only stage itself, in the version that the ensemble is: Triton tells it of who goes
    away, and tells the stage of an ensemble nothing once it has begun."""
    if told.versions and {*call.outputs} <= {output.name for output in told.outputs}:
        request.model_name, request.model_version = f"{call.model}_writer", told.versions[0]


def infer_request(call: Infer) -> Any:
    """The ModelInferRequest of a call; a load generator makes its requests with it ahead of time."""
    request = messages.ModelInferRequest(model_name=call.model)
    for name, tensor in call.inputs.items():
        one = request.inputs.add(name=name, datatype=tensor.dtype, shape=tensor.shape)
        values = [value.encode() for value in tensor.values] if tensor.dtype == "BYTES" else tensor.values
        getattr(one.contents, _CONTENTS[tensor.dtype]).extend(values)
    for name in call.outputs:
        request.outputs.add(name=name)
    return request


def infer_reply(response: Any) -> Reply:
    """The tensors of a ModelInferResponse."""
    return {
        out.name: Tensor(out.datatype, tuple(out.shape), _DECODE[out.datatype](raw))
        for out, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def _request(stub: Any, call: Call) -> tuple[Any, Any]:
    if isinstance(call, Ready):
        return stub.ModelReady, messages.ModelReadyRequest(name=call.model)
    return stub.ModelInfer, infer_request(call)


def _reply(url: str, call: Call, response: Any) -> Reply:
    if isinstance(call, Infer):
        return infer_reply(response)
    if response.ready:
        return {}
    raise failure(Unavailable, url, f"{call.model!r} is not ready")


def _piece(url: str, reply: Any) -> Reply:
    if reason := reply.error_message:
        raise failure(kind_in_words(reason), url, reason)
    return infer_reply(reply.infer_response)


def _failure(url: str, error: grpc.RpcError) -> PerennialClientError:
    return failure(_KINDS.get(error.code(), PerennialClientError), url, error.details() or error.code().name)


def _strings(raw: bytes) -> list[str]:
    """Each string is preceded by its length in bytes, 32 bits little-endian."""
    values, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        values.append(raw[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return values


_DECODE: dict[str, Callable[[bytes], Sequence[Any]]] = {
    "BYTES": _strings,
    "FP32": lambda raw: struct.unpack(f"<{len(raw) // 4}f", raw),
    "INT32": lambda raw: struct.unpack(f"<{len(raw) // 4}i", raw),
    "BOOL": lambda raw: [byte != 0 for byte in raw],
}

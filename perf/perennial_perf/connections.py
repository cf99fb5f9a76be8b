"""A client's connection to a server, over gRPC or HTTP/1.1: bytes out, a status and bytes back.

Statuses are gRPC's, 0 for an answer; over HTTP, where the server says something else than 2xx, they are its
own. What is in the bytes is `payloads`' to know.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, Protocol, TypeAlias

import grpc

Wire: TypeAlias = Literal["grpc", "http"]

LATE, LOST = 4, 14  # gRPC's DEADLINE_EXCEEDED and UNAVAILABLE
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each client, as real ones have
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 50),
]


class Connection(Protocol):
    async def ask(self, request: bytes, timeout: float) -> tuple[int, bytes]:
        """The status and the reply to a whole request, within `timeout` seconds; never raises."""

    async def close(self) -> None: ...


def connect(wire: Wire, target: str) -> Connection:
    """To `target` (host:port), which need not be there yet: it is called at the first request."""
    return GrpcConnection(target) if wire == "grpc" else HttpConnection(target)


class GrpcConnection:
    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, _OPTIONS)
        self._call: Any = self._channel.unary_unary(_INFER)

    async def ask(self, request: bytes, timeout: float) -> tuple[int, bytes]:
        try:
            return 0, await self._call(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return error.code().value[0], b""

    async def close(self) -> None:
        await self._channel.close()


class HttpConnection:
    """Keeps its stream alive between requests. One that finds no idle stream opens another, as HTTP/1.1
    answers one request at a time."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
        self._idle: list[_Stream] = []

    async def ask(self, request: bytes, timeout: float) -> tuple[int, bytes]:
        try:
            stream = self._take() or await self._open(timeout)
            reply = await stream.ask(request, timeout)
        except asyncio.TimeoutError:
            return LATE, b""
        except OSError:
            return LOST, b""
        if reply.kept_alive:
            self._idle.append(stream)
        else:
            stream.close()
        return (0 if reply.status // 100 == 2 else reply.status), bytes(reply.body)

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _Stream | None:
        while self._idle:
            stream = self._idle.pop()
            if stream.open:
                return stream
        return None

    async def _open(self, timeout: float) -> _Stream:
        opening = asyncio.get_running_loop().create_connection(_Stream, self._host, self._port)
        _, stream = await asyncio.wait_for(opening, timeout)
        return stream


class _Stream(asyncio.Protocol):
    """One request at a time. A stream whose request failed is closed: a late reply must not meet the next."""

    open = False

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        self._loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[Reply] | None = None
        self.open = True

    async def ask(self, request: bytes, timeout: float) -> Reply:
        self._reply = Reply()
        self._asked = self._loop.create_future()
        self._transport.write(request)
        timer = self._loop.call_later(timeout, self._fail, asyncio.TimeoutError())
        try:
            return await self._asked
        finally:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            if self._asked and self._reply.feed(data) and not self._asked.done():
                self._asked.set_result(self._reply)
        except ValueError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._asked and not self._asked.done():
            if self._reply.ends_with_stream:
                self._asked.set_result(self._reply)
            else:
                self._fail(error if isinstance(error, OSError) else ConnectionResetError("hung up"))

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def _fail(self, error: Exception) -> None:
        if self._asked and not self._asked.done():
            self._asked.set_exception(error)
        self.close()


class Reply:
    """An HTTP reply, as far as it has come. Its body ends by its length, by its last chunk, or with the
    stream. Trailers are not looked for."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.kept_alive = False
        self._waiting = bytearray()
        self._length: int | None = None
        self._chunked = False

    @property
    def ends_with_stream(self) -> bool:
        return self.status > 0 and self._length is None and not self._chunked

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the reply is whole. `ValueError` where it is not HTTP."""
        self._waiting += data
        if not self.status and not self._read_head():
            return False
        if self._chunked:
            return self._read_chunks()
        self.body += self._waiting
        self._waiting.clear()
        return self._length is not None and len(self.body) >= self._length

    def _read_head(self) -> bool:
        end = self._waiting.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._waiting[:end]).lower().split(b"\r\n")
        del self._waiting[: end + 4]
        version, status, *_ = first.split(b" ", 2)
        headers = {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self.status = int(status)
        self._chunked = headers.get(b"transfer-encoding") == b"chunked"
        self._length = int(headers[b"content-length"]) if b"content-length" in headers else None
        told = headers.get(b"connection", b"keep-alive" if version == b"http/1.1" else b"close")
        self.kept_alive = told != b"close" and not self.ends_with_stream
        return True

    def _read_chunks(self) -> bool:
        while (line := self._waiting.find(b"\r\n")) >= 0:
            size = int(self._waiting[:line].partition(b";")[0], 16)
            end = line + 2 + size
            if len(self._waiting) < end + 2:
                return False
            self.body += self._waiting[line + 2 : end]
            del self._waiting[: end + 2]
            if size == 0:
                return True
        return False

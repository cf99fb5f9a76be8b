"""The load generator over HTTP/1.1, against a real server on a socket: what ends a reply, and what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial_perf import payloads
from perennial_perf.connections import LATE, LOST, HttpConnection, Reply
from perennial_perf.load import Load, Plan
from perennial_perf.trace import Trace

Answer: TypeAlias = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

ASKED = [payloads.http_json("/ask", {"text": f"text {number}"}) for number in range(10)]


class Server:
    """Reads whole requests, gives each one's body to `answer`, and counts connections."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split()[0])
                await self._answer(await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[str]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        listener.close()


def whole(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def echo(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(whole(body))


async def load(server: Server, **plan: object) -> Trace:
    async with listening(server) as target:
        return await Load(Plan(target, wire="http", keep=True, **plan), ASKED).run()  # type: ignore[arg-type]


async def test_each_client_keeps_its_connection_and_gets_the_reply_to_its_request() -> None:
    server = Server(echo)
    trace = await load(server, clients=4, requests=50)
    assert (len(trace), trace.failed, server.connections) == (50, 0, 4)
    for number, reply in zip(trace.payload, trace.replies, strict=True):
        assert ASKED[number].endswith(reply) and reply
    assert trace.cpu_us > 0


async def test_a_chunked_reply_is_put_together() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n" + body[:5] + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)
        writer.write(f"{len(body) - 5:X}\r\n".encode() + body[5:] + b"\r\n0\r\n\r\n")

    server = Server(answer)
    trace = await load(server, requests=20)
    assert (trace.failed, server.connections) == (0, 1)
    assert all(ASKED[n].endswith(reply) for n, reply in zip(trace.payload, trace.replies, strict=True))


async def test_an_error_status_is_a_failure_by_its_number_and_the_connection_goes_on() -> None:
    statuses = iter(["503 Busy", "408 Request Timeout", "200 OK", "204 No Content"])

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(body, next(statuses)))

    server = Server(answer)
    trace = await load(server, requests=4)
    assert trace.code.tolist() == [503, 408, 0, 0]
    assert (trace.failed, len(trace.latency_ms), server.connections) == (2, 2, 1)


async def test_a_server_that_hangs_up_fails_that_request_and_is_called_again() -> None:
    replies = iter([whole(b"{}"), b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", whole(b"{}")])

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        reply = next(replies)
        writer.write(reply)
        if not reply.endswith(b"{}"):
            writer.close()

    server = Server(answer)
    trace = await load(server, requests=4)
    assert trace.code.tolist() == [0, LOST, LOST, 0]
    assert server.connections == 3


async def test_a_reply_that_ends_with_its_connection_is_whole_and_the_next_opens_another() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        writer.close()

    server = Server(answer)
    trace = await load(server, requests=3)
    assert (trace.failed, server.connections) == (0, 3)
    assert all(ASKED[n].endswith(reply) for n, reply in zip(trace.payload, trace.replies, strict=True))


async def test_a_late_reply_is_a_failure_and_never_another_requests_answer() -> None:
    waits = iter([0.3, 0.0])

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(next(waits))
        writer.write(whole(body))

    server = Server(answer)
    trace = await load(server, requests=2, timeout=0.1)
    assert trace.code.tolist() == [LATE, 0]
    assert ASKED[1].endswith(trace.replies[1])


async def test_what_is_not_http_and_where_nobody_listens_are_failures() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no HTTP\r\n\r\n")

    trace = await load(Server(answer), requests=1)
    assert trace.code.tolist() == [LOST]
    async with listening(Server(echo)) as target:
        pass
    assert await HttpConnection(target).ask(ASKED[0], 1.0) == (LOST, b"")


async def test_an_open_loop_opens_a_connection_where_none_is_idle() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(whole(body))

    server = Server(answer)
    trace = await load(server, rate=100.0, requests=20)
    assert trace.failed == 0 and server.connections > 5
    assert trace.latency.max() < 0.6  # one after the other, the last would have waited for four seconds


@given(st.binary(max_size=60), st.lists(st.integers(1, 30)), st.booleans())
def test_a_reply_is_the_same_however_it_comes_in_pieces(body: bytes, cuts: list[int], chunked: bool) -> None:
    packed = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n" if body else b"0\r\n\r\n"
    sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + packed if chunked else whole(body)
    reply, done = Reply(), False
    while sent:
        assert not done
        cut = cuts.pop() if cuts else len(sent)
        done, sent = reply.feed(sent[:cut]), sent[cut:]
    assert done and (reply.status, bytes(reply.body), reply.kept_alive) == (200, body, True)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive", True),
    ],
)
def test_a_connection_is_kept_as_the_server_says(head: bytes, kept: bool) -> None:
    reply = Reply()
    assert reply.feed(head + b"\r\n\r\n") and reply.kept_alive == kept

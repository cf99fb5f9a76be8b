"""What the clients need of a protocol, and the choice of one by the address."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Protocol
from urllib.parse import urlsplit

from perennial_client._errors import BadRequest
from perennial_client._wire import Call, Infer, Reply


class Transport(Protocol):
    def send(self, call: Call, timeout: float) -> Reply:
        """The reply, or a `PerennialClientError`, within `timeout` seconds; of one in pieces the first."""

    def stream(self, call: Infer, timeout: float) -> Generator[Reply, None, None]:
        """The replies as they come, within `timeout` seconds. Closed early, it takes the question back."""

    def close(self) -> None: ...


class AsyncTransport(Protocol):
    async def send(self, call: Call, timeout: float) -> Reply:
        """As `Transport.send`."""

    def stream(self, call: Infer, timeout: float) -> AsyncGenerator[Reply, None]:
        """As `Transport.stream`."""

    async def close(self) -> None: ...


# httpx and grpc take a tenth of a second each to import: a caller pays for the one that its address names.


def connect(url: str) -> Transport:
    if _scheme(url) == "grpc":
        from perennial_client._grpc import GrpcTransport

        return GrpcTransport(url)
    from perennial_client._http import HttpTransport

    return HttpTransport(url)


def connect_async(url: str) -> AsyncTransport:
    if _scheme(url) == "grpc":
        from perennial_client._grpc import AsyncGrpcTransport

        return AsyncGrpcTransport(url)
    from perennial_client._http import AsyncHttpTransport

    return AsyncHttpTransport(url)


def _scheme(url: str) -> str:
    try:
        address = urlsplit(url)
        port = address.port or {"http": 80, "https": 443}.get(address.scheme)
    except ValueError:  # the port is no number
        port = None
    if not (port and address.hostname and address.scheme in ("http", "https", "grpc")):
        raise BadRequest(f"{url!r} is not a server's address; give http://HOST:PORT or grpc://HOST:PORT")
    return address.scheme

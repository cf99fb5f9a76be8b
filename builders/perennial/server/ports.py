"""Where the embedded server, and the front beside it, listen: on loopback only, on ports that are free."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from perennial.errors import ConfigError, Unavailable


@dataclass(frozen=True)
class Ports:
    """0 stands for a free one."""

    http: int = 0
    grpc: int = 0
    metrics: int = 0


def loopback(host: str) -> str:
    """The address to bind; `ConfigError` for one that other machines reach."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.IPv4Address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise ConfigError(
        f"host {host!r} is not an IPv4 loopback address, and the embedded tritonserver has known holes that "
        "other machines must not reach; use 127.0.0.1, or run the container behind its front (docker/)"
    )


def choose(host: str, wanted: Ports) -> Ports:
    """`wanted`, with a free port for each 0; `Unavailable` for one that is taken."""
    with ExitStack() as held:  # all are held until all are chosen, so that no two are the same
        chosen = {
            use: _bind(held.enter_context(socket.socket()), host, use, port)
            for use, port in asdict(wanted).items()
        }
    return Ports(**chosen)


def listen(host: str, use: str, port: int) -> socket.socket:
    """A socket of ours that accepts connections; errors as in `choose`."""
    sock = socket.socket()
    try:
        _bind(sock, host, use, port)
    except Unavailable:
        sock.close()
        raise
    sock.listen(128)
    return sock


def _bind(sock: socket.socket, host: str, use: str, port: int) -> int:
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
    )  # what lingers of closed connections is no obstacle
    try:
        sock.bind((host, port))
    except OSError as error:
        raise Unavailable(
            f"{use} port {port} on {host} cannot be used ({error.strerror}); stop what listens there, or set "
            f"server.{use}_port to another one (0 takes a free one)"
        ) from None
    bound: int = sock.getsockname()[1]
    return bound

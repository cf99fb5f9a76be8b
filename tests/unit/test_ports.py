"""Claims about where the embedded server listens, and what it keeps closed there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from perennial.errors import ConfigError, Unavailable
from perennial.server import ports
from perennial.server.arguments import arguments
from perennial.server.ports import Ports


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", "", "127.0.0.1:80"])
def test_a_host_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an IPv4 loopback address.*use 127\.0\.0\.1"):
        ports.loopback(host)


@pytest.mark.parametrize(("host", "bound"), [("127.8.0.3", "127.8.0.3"), ("localhost", "127.0.0.1")])
def test_loopback_is_taken(host: str, bound: str) -> None:
    assert ports.loopback(host) == bound


def test_free_ports_are_three_different_ones() -> None:
    chosen = ports.choose("127.0.0.1", Ports())
    assert len({chosen.http, chosen.grpc, chosen.metrics, 0}) == 4


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"^http port {port} .*server\.http_port"):
            ports.choose("127.0.0.1", Ports(http=port))


def test_every_admin_api_is_closed_on_both_ports() -> None:
    told = arguments(Path("/models"), ("toy",), "127.0.0.1", Ports(1, 2, 3), "s3cret")
    closed = [argument for argument in told if "restricted" in argument]
    assert len(closed) == 2
    for argument in closed:
        for api in ("model-repository", "shared-memory", "trace", "logging"):
            assert api in argument.partition("=")[2].partition(":")[0].split(",")
        assert argument.endswith("=s3cret")
    assert [argument for argument in told if argument.endswith("-address=127.0.0.1")] == [
        f"--{use}-address=127.0.0.1" for use in ("http", "grpc", "metrics")
    ]

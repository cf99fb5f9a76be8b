"""The front's rules, put to a real nginx on loopback before a server that speaks Triton's wire."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from fakes_wire import FakeServer
from perennial_client import BadRequest, Client, Unavailable

CONF = Path(__file__).parents[2] / "docker/front.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPENED = "/v2/models/sentiment/infer"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; the package is called nginx")


@dataclass(frozen=True)
class Front:
    http_port: int
    grpc_port: int

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.grpc_port if scheme == 'grpc' else self.http_port}"

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] = b"", **headers: str
    ) -> tuple[int, str]:
        """The status and the body of one request, its path sent as it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)) as connection:
            connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes))
            response = connection.getresponse()
            return response.status, response.read().decode()

    def call(self, method: str, **options: grpc.Compression) -> grpc.RpcError:
        """How a gRPC call that must not succeed fails."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            ask = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.RpcError) as failed:
                ask(b"text" * 1000, timeout=10, **options)
            return failed.value


@contextmanager
def nginx(folder: Path, server: FakeServer, *changes: tuple[str, str]) -> Iterator[Front]:
    front = Front(*_free_ports())
    conf = folder / "front.conf"
    conf.write_text(_rendered(folder, front, server, changes))
    command = [str(NGINX), "-e", "stderr", "-p", str(folder), "-c", str(conf)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "-g", "daemon off;"], stdout=log, stderr=log)
    try:
        _wait_until(lambda: _listens(front.grpc_port))
        yield front
    finally:
        process.terminate()
        process.wait()


def _rendered(folder: Path, front: Front, server: FakeServer, changes: tuple[tuple[str, str], ...]) -> str:
    """The committed file with its addresses and folder replaced, and what an older nginx words otherwise."""
    text = CONF.read_text()
    asked = [
        ("listen 8000;", f"listen 127.0.0.1:{front.http_port};"),
        ("listen 8001;", f"listen 127.0.0.1:{front.grpc_port};"),
        ("server triton:8000 resolve;", f"server 127.0.0.1:{server.http_port};"),
        ("server openai:8003 resolve;", f"server 127.0.0.1:{server.http_port};"),
        ("server triton:8001 resolve;", f"server 127.0.0.1:{server.grpc_port};"),
        ("/tmp/", f"{folder}/"),
        *changes,
    ]
    if _version() < (1, 25, 1):
        asked += [("http2 on;", ""), (f":{front.grpc_port};", f":{front.grpc_port} http2;")]
    for old, new in asked:
        assert old in text, f"{CONF} no longer says {old!r}"
        text = text.replace(old, new)
    return text


def _version() -> tuple[int, ...]:
    said = subprocess.run([str(NGINX), "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    assert found, said
    return tuple(map(int, found.groups()))


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        return [one.getsockname()[1] for one in taken]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(true: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 10
    while not true():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(scope="module")
def front(server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with nginx(tmp_path_factory.mktemp("front"), server) as front:
        yield front


@pytest.fixture(autouse=True)
def nothing_seen(server: FakeServer) -> None:
    server.wire.seen.clear()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_questions_and_feedback_pass(front: Front, scheme: str) -> None:
    with Client(front.url(scheme)) as client:
        assert client.ready("sentiment")
        answer = client.predict("sentiment", "a triumph", top_k=2)
        assert answer.label == "positive"
        assert client.feedback(answer, "negative", key="k") == "receipt-k"
        assert client.predict("sentiment", "a triumph", timings=True).timings


def test_a_text_just_under_the_limit_passes(front: Front, server: FakeServer) -> None:
    with Client(front.url("http")) as client:
        client.predict("sentiment", "x" * (1024 * 1024 - 500))
    assert len(server.wire.seen) == 1


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_body_over_1_mb_is_refused_and_says_so(front: Front, server: FakeServer, scheme: str) -> None:
    with Client(front.url(scheme)) as client, pytest.raises(BadRequest, match="over 1 MB"):
        client.predict("sentiment", "x" * (1024 * 1024 + 1))
    assert not server.wire.seen


def test_a_chunked_body_is_refused(front: Front, server: FakeServer) -> None:
    status, said = front.ask("POST", OPENED, iter([b"{", b"}"]), Transfer_Encoding="chunked")
    assert (status, "chunked" in said) == (411, True)
    assert not server.wire.seen


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity, gzip"])
def test_an_encoded_body_is_refused(front: Front, server: FakeServer, encoding: str) -> None:
    status, said = front.ask("POST", OPENED, b"{}", Content_Encoding=encoding)
    assert (status, "uncompressed" in said) == (415, True)
    assert not server.wire.seen


def test_a_compressed_grpc_message_is_refused(front: Front, server: FakeServer) -> None:
    failed = front.call("ModelInfer", compression=grpc.Compression.Gzip)
    assert (failed.code(), "uncompressed" in failed.details()) == (grpc.StatusCode.UNIMPLEMENTED, True)
    assert not server.wire.seen


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /v2/repository/index",
        "POST /v2/repository/models/sentiment/load",
        "POST /v2/repository/models/sentiment/unload",
        "GET /v2/systemsharedmemory/status",
        "POST /v2/systemsharedmemory/region/one/register",
        "POST /v2/cudasharedmemory/region/one/register",
        "GET /v2/trace/setting",
        "POST /v2/models/sentiment/trace/setting",
        "POST /v2/logging",
        "GET /v2/models/sentiment/config",
        "GET /v2/models/sentiment/stats",
        "POST /v2/models/sentiment_engine/generate",
        "POST /v1/models",
        "GET /v1/models/chat/../../admin",
        "POST /v1/embeddings",
        "POST /v2/models/sentiment_postprocess/infer",
        "GET /metrics",
        "POST /v2/models/sentiment/../../repository/index",
        "POST /v2/repository/../models/sentiment/infer",
        "POST /v2/models/sentiment/infer/../../../repository/index",
        "POST //v2/repository/index",
        "POST /v2/%72epository/index",
        "POST /v2/models/%2e%2e/repository/index",
        "POST /v2/repository/index?/v2/models/sentiment/infer",
        "POST http://triton/v2/repository/index",
        "PUT /v2/models/sentiment/infer",
    ],
)
def test_what_is_no_question_is_closed(front: Front, server: FakeServer, request_line: str) -> None:
    method, path = request_line.split(" ")
    status, said = front.ask(method, path, b"{}")
    assert (status, "closed" in said) == (404, True)
    assert not server.wire.seen


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /v2/models/chat/generate",
        "GET /v1/models",
        "GET /v1/models/chat",
        "POST /v1/chat/completions",
        "POST /v1/completions",
    ],
)
def test_what_is_asked_of_a_service_that_writes_reaches_a_server(front: Front, request_line: str) -> None:
    method, path = request_line.split(" ")
    status, said = front.ask(method, path, b"{}" if method == "POST" else b"")
    assert (status, "the fake has no such path" in said) == (404, True)


@pytest.mark.parametrize(
    "method",
    [
        "RepositoryIndex",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryRegister",
        "CudaSharedMemoryRegister",
        "TraceSetting",
        "LogSettings",
        "ModelStatistics",
    ],
)
def test_grpc_methods_beside_questions_are_closed(front: Front, method: str) -> None:
    failed = front.call(method)
    assert (failed.code(), "closed" in failed.details()) == (grpc.StatusCode.UNIMPLEMENTED, True)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_flood_is_refused_until_it_ends(server: FakeServer, tmp_path: Path, scheme: str) -> None:
    slower = ("rate=500r/s", "rate=5r/s"), ("burst=500", "burst=3")
    with nginx(tmp_path, server, *slower) as front, Client(front.url(scheme)) as client:
        asked = [client.ready("sentiment") for _ in range(40)]
        assert asked[:4] == [True] * 4
        assert False in asked
        _wait_until(lambda: client.ready("sentiment"))


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_down_is_unavailable(tmp_path: Path, scheme: str) -> None:
    with FakeServer() as gone:
        pass
    with (
        nginx(tmp_path, gone) as front,
        Client(front.url(scheme), timeout=0.5) as client,
        pytest.raises(Unavailable, match="the server is not up"),
    ):
        client.predict("sentiment", "a triumph")

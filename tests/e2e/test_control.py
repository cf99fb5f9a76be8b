"""Claims about what is asked of a running server, and what it refuses."""

from __future__ import annotations

import urllib.error
import urllib.request

import numpy as np
import pytest

from perennial.errors import BadRequest, Broken, ConfigError, NotFound, Unavailable
from perennial.server.arguments import SECRET_HEADER
from perennial.server.control import Control, TimedOut
from perennial.types import text_tensor
from serving import Served

pytestmark = pytest.mark.e2e

HELLO = {"TEXT": text_tensor(["hello"])}


def post(url: str, secret: str) -> int:
    request = urllib.request.Request(url, b"{}", {SECRET_HEADER: secret} if secret else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize(
    "path",
    [
        "repository/index",
        "repository/models/toy_count/load",
        "repository/models/toy_count/unload",
        "systemsharedmemory/region/x/register",
        "cudasharedmemory/unregister",
        "trace/setting",
        "logging",
    ],
)
def test_admin_calls_over_http_need_the_secret(served: Served, path: str) -> None:
    for secret in ("", "wrong"):
        assert post(f"{served.server.run.http_url}/v2/{path}", secret) == 403


def test_admin_calls_over_http_take_the_secret(served: Served) -> None:
    secret = served.state.secret("admin").read_text()
    assert post(f"{served.server.run.http_url}/v2/repository/index", secret) == 200


@pytest.mark.parametrize("call", ["load", "unload", "versions"])
def test_admin_calls_over_grpc_need_the_secret(served: Served, call: str) -> None:
    with Control(served.server.run.grpc_url, "wrong") as stranger:
        with pytest.raises(ConfigError, match="admin secret"):
            getattr(stranger, call)("toy_count")
        assert stranger.ask("toy", None, HELLO)["ANSWER"].shape == (1, 1)


def test_an_optional_tensor_may_be_left_out(served: Served) -> None:
    thrice = {**HELLO, "TIMES": np.array([[3]], np.int32)}
    answers = [served.control.ask("toy", 1, asked)["ANSWER"][0, 0].split()[:-1] for asked in (HELLO, thrice)]
    assert answers == [[b"HELLO"] * 2, [b"HELLO"] * 3]


def test_an_error_keeps_its_kind_and_its_text(served: Served) -> None:
    control = served.control
    with pytest.raises(BadRequest, match="in ensemble 'toy', no such word"):
        control.ask("toy", None, {"TEXT": text_tensor(["refuse me"])})
    with pytest.raises(NotFound, match="'toy' version 7"):
        control.ask("toy", 7, HELLO)
    with pytest.raises(TimedOut):
        control.ask("toy", None, {"TEXT": text_tensor(["wait"])}, timeout_s=0.3)
    with pytest.raises(Broken, match="no_such_model"):
        control.load("no_such_model")
    with pytest.raises(Broken, match=r"version 2 of toy is not ready: the server does not know it"):
        control.wait_ready("toy", 2, timeout_s=0.1)


def test_a_server_that_is_away_is_unavailable() -> None:
    with Control("grpc://127.0.0.1:1", "") as control:
        assert not control.ready()
        with pytest.raises(Unavailable):
            control.ask("toy", None, HELLO)


def test_figures_count_a_versions_requests(served: Served) -> None:
    before = served.control.figures("toy", 1)
    for _ in range(5):
        served.control.ask("toy", 1, HELLO)
    with pytest.raises(BadRequest):
        served.control.ask("toy", 1, {"TEXT": text_tensor(["refuse me"])})
    after = served.control.figures("toy", 1)
    assert after.succeeded - before.succeeded == 5 and after.failed > before.failed
    assert after.p99_us is not None and 0 < after.p99_us < 10e6


def test_a_model_tells_its_stages(served: Served) -> None:
    assert [(step.model, step.version) for step in served.control.steps("toy")] == [
        ("toy_count", 1),
        ("toy_upper", 1),
    ]
    assert served.control.steps("toy_upper") == []
    assert [served.control.processes(model) for model in ("toy_upper", "toy_count", "toy")] == [2, 1, 0]
    assert served.control.versions("toy_upper") == [1]
    assert served.control.ready()

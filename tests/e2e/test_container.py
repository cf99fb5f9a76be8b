"""The container's entry point, with the embedded tritonserver in the place of the image's."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from perennial.repository.layout import copy_own_models
from perennial.server import embedded, guard, ports
from perennial.server.arguments import SECRET_HEADER, folder_arguments
from perennial.server.ports import Ports

ROOT = Path(__file__).parents[2]
SECRET = secrets.token_hex(32)
BROKEN = """
name: "broken" backend: "python" max_batch_size: 1
output [ { name: "ANY" data_type: TYPE_INT32 dims: [ 1 ] } ]
"""

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("embedded_server")]


@contextmanager
def container(folder: Path) -> Iterator[httpx.Client]:
    """What `docker run` of the serving image would start, on loopback, with `folder` for its file system."""
    copy_own_models(ROOT / "model_repository", folder / "model_repository")
    chosen = ports.choose("127.0.0.1", Ports())
    regions = f"{guard.REGIONS}{secrets.token_hex(4)}_"
    installation = embedded.find()
    backends = embedded.assemble(installation, folder / "backends")
    arguments = [*folder_arguments(backends, installation.caches, regions), *_on_loopback(chosen)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["sh", str(ROOT / "docker/serve-entrypoint.sh"), *arguments],
            env=os.environ
            | _environment(folder, installation.server, embedded.environment(installation, backends)),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{chosen.http}") as client:
            _wait_until_live(client, server, folder / "log")
            yield client
    finally:
        guard.end(server, patience_s=10.0)
        guard.remove_regions(regions)


def _on_loopback(chosen: Ports) -> list[str]:
    of = {"http": chosen.http, "grpc": chosen.grpc, "metrics": chosen.metrics}
    return [f"--{name}-address=127.0.0.1" for name in of] + [
        f"--{name}-port={port}" for name, port in of.items()
    ]


def _environment(folder: Path, server: Path, libraries: dict[str, str]) -> dict[str, str]:
    """The variables that compose sets, their files, and a PATH with `tritonserver` on it."""
    (folder / "bin").mkdir()
    (folder / "bin/tritonserver").symlink_to(server)
    for name, secret in (("admin", SECRET), ("prediction-id", secrets.token_hex(32))):
        (folder / name).write_text(f"{secret}\n")
    return libraries | {
        "PATH": f"{folder / 'bin'}:{libraries['PATH']}",
        "PERENNIAL_REPOSITORY": str(folder / "services"),
        "PERENNIAL_SERVER__ADMIN_KEY_FILE": str(folder / "admin"),
        "PERENNIAL_KEY_FILE": str(folder / "prediction-id"),
        "PERENNIAL_STORE_URL": f"sqlite:///{folder / 'store.db'}",
    }


def _wait_until_live(client: httpx.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        assert server.poll() is None, log.read_text()
        try:
            if client.get("/v2/health/live").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_the_feedback_model_is_served_and_the_admin_apis_are_closed(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    with container(tmp_path) as client:
        assert client.get("/v2/health/ready").status_code == httpx.codes.OK
        assert client.get("/v2/models/feedback/ready").status_code == httpx.codes.OK
        for method, path in (
            ("POST", "/v2/repository/index"),
            ("GET", "/v2/systemsharedmemory/status"),
            ("GET", "/v2/trace/setting"),
            ("GET", "/v2/logging"),
        ):
            assert client.request(method, path).status_code == httpx.codes.FORBIDDEN
            known = client.request(method, path, headers={SECRET_HEADER: SECRET})
            assert known.status_code == httpx.codes.OK


def test_a_service_that_does_not_load_leaves_the_others_their_answers(tmp_path: Path) -> None:
    (tmp_path / "services/broken/1").mkdir(parents=True)
    (tmp_path / "services/broken/config.pbtxt").write_text(BROKEN)
    (tmp_path / "services/broken/1/model.py").write_text("raise SystemError('broken')")
    with container(tmp_path) as client:
        assert client.get("/v2/models/feedback/ready").status_code == httpx.codes.OK
        assert client.get("/v2/health/ready").status_code == httpx.codes.BAD_REQUEST

"""Starts the embedded tritonserver and stops it again, leaving nothing behind.

Knows processes and the run folder. Leaves what tritonserver is told to `arguments`, its clean end to `guard`,
and what is asked of it to `control`.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from perennial.errors import Unavailable
from perennial.server import embedded, guard, ports, runinfo
from perennial.server.arguments import EXIT_S, arguments, cache_arguments, folder_arguments
from perennial.server.ports import Ports
from perennial.server.runinfo import RunInfo
from perennial.server.startlog import StartLog

PATIENCE_S = EXIT_S + 3.0
POLL_S = 0.05


@dataclass(frozen=True)
class Launch:
    """A server to start. On `folder`, its run folder, at most one server runs.

    `models` are loaded at the start, with those that an ensemble among them needs; `environment` is for the
    stages.
    """

    repository: Path
    folder: Path
    log: Path
    secret: str = field(repr=False)
    models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 120.0
    cache_mb: int = 0


class Server:
    """A server that this process started: it ends with this process, however that ends."""

    def __init__(self, run: RunInfo, guardian: subprocess.Popen[bytes], folder: Path) -> None:
        self.run = run
        self._guard = guardian
        self._folder = folder

    @property
    def alive(self) -> bool:
        return self._guard.poll() is None

    def stop(self) -> None:
        """Let requests in flight finish, then end the server, its stubs and its shared memory."""
        self._guard.terminate()
        try:
            self._guard.wait(PATIENCE_S + 2.0)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        remove_remains(self._folder)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(launch: Launch) -> Server:
    """Start tritonserver and wait until it answers and every model of `launch` is ready.

    Raises `ConfigError` for a host that is not loopback, and `Unavailable` with one line that says what is
    missing, which port is taken or which model fails.
    """
    order = _order(launch)
    log = StartLog(launch.log)
    guardian = _start_guard(order, launch.log)
    run = runinfo.read(launch.folder)
    if run is None or run.pid != guardian.pid:
        guardian.kill()
        guardian.wait()
        raise Unavailable(f"tritonserver did not start: {log.cause()} (log: {launch.log})")
    server = Server(run, guardian, launch.folder)
    try:
        _wait_until_ready(server, log, launch.timeout_s)
    except BaseException:
        server.stop()
        raise
    return server


def remove_remains(folder: Path) -> None:
    """Remove what a server on this run folder left because its guard was killed with it."""
    left = runinfo.read(folder)
    if left is not None and not left.alive:
        guard.remove_regions(left.regions)
        (folder / runinfo.FILE).unlink(missing_ok=True)


def _order(launch: Launch) -> guard.Order:
    """Check all that can be checked before anything is started, and say what to start."""
    host = ports.loopback(launch.host)
    if missing := [model for model in launch.models if not (launch.repository / model).is_dir()]:
        raise Unavailable(
            f"the repository {str(launch.repository)!r} lacks {', '.join(missing)}; copy them there from the "
            "model_repository that Perennial came with, or give another --repository"
        )
    installation = embedded.find()
    folder = launch.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if running := runinfo.find_running(folder):
        raise Unavailable(
            f"a server already runs on {folder} (pid {running.pid}); stop it with `perennial down`"
        )
    remove_remains(folder)
    chosen = ports.choose(host, launch.ports)
    backends = embedded.assemble(installation, folder / "backends")
    regions = f"{guard.REGIONS}{secrets.token_hex(4)}_"
    repository = launch.repository.resolve()
    return guard.Order(
        command=[
            str(installation.server),
            *arguments(repository, launch.models, host, chosen, launch.secret),
            *cache_arguments(launch.cache_mb),
            *folder_arguments(backends, installation.caches, regions),
        ],
        environment={**os.environ, **embedded.environment(installation, backends), **launch.environment},
        secret=launch.secret,
        supervisor=os.getpid(),
        folder=str(folder),
        host=host,
        ports=asdict(chosen),
        regions=regions,
        patience_s=PATIENCE_S,
    )


def _start_guard(order: guard.Order, log: Path) -> subprocess.Popen[bytes]:
    """The guard, once it has started the server and written the run file, or has failed to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        guardian = subprocess.Popen(
            [sys.executable, "-m", guard.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's to handle
        )
    assert guardian.stdin is not None and guardian.stdout is not None
    with guardian.stdin as told, guardian.stdout as said:
        told.write(json.dumps(asdict(order)).encode())
        told.close()
        said.readline()
    return guardian


def _wait_until_ready(server: Server, log: StartLog, timeout_s: float) -> None:
    run, ends_at = server.run, time.monotonic() + timeout_s
    while not (
        _answers(run.host, run.http_port, "/v2/health/ready")
        and _answers(run.host, run.metrics_port, "/metrics")
    ):
        if not server.alive:
            raise Unavailable(f"tritonserver did not start: {log.cause()} (log: {log.path})")
        if time.monotonic() > ends_at:
            raise Unavailable(
                f"tritonserver was not ready within {timeout_s:.0f} s, and last logged: {log.cause()} "
                f"(log: {log.path}); give it longer with server.start_timeout_s"
            )
        time.sleep(POLL_S)


def _answers(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

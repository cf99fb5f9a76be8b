"""The running server, as a file in the run folder tells it to the command line and the worker."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "server.json"


@dataclass(frozen=True)
class RunInfo:
    """A server that was started. `pid` is its guard, which stops the server on SIGTERM; `server_pid` is
    tritonserver itself. `started` is the guard's start in clock ticks since boot: a pid alone is used again.
    """

    pid: int
    started: int
    server_pid: int
    host: str
    http_port: int
    grpc_port: int
    metrics_port: int
    regions: str
    """What the names of this server's regions in /dev/shm begin with."""

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://{self.host}:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://{self.host}:{self.metrics_port}/metrics"

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def find_running(folder: Path) -> RunInfo | None:
    """The server that runs on this run folder, if one does."""
    known = read(folder)
    return known if known and known.alive else None


def read(folder: Path) -> RunInfo | None:
    """What the file says, whether that server still runs or not; None without a file that can be read."""
    try:
        return RunInfo(**json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(folder: Path, run: RunInfo) -> None:
    part = folder / f"{FILE}.{os.getpid()}"
    part.write_text(json.dumps(asdict(run), indent=2) + "\n")
    part.replace(folder / FILE)


def start_time(pid: int) -> int | None:
    """When a live process started, in clock ticks since boot (proc_pid_stat(5)); None for a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])

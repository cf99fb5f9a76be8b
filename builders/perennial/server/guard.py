"""The process between a supervisor and its tritonserver: whatever kills either, nothing of the server stays.

`python -m perennial.server.guard` reads an `Order` as JSON from its standard input, starts the server, writes
the run file and prints a line. Then it waits: when the server ends, when the guard is told to stop (SIGTERM),
or when the supervisor is gone, even by SIGKILL, it ends the server with its stubs, and removes their
shared-memory regions and the run file. The server, in turn, dies with the guard.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perennial.children import die_with_parent
from perennial.server import runinfo
from perennial.server.runinfo import RunInfo

POLL_S = 0.1
SHARED_MEMORY = Path("/dev/shm")
REGIONS = "perennial_"
"""What the prefix of every server's regions begins with."""


@dataclass(frozen=True)
class Order:
    """The server to start. `secret` is hidden from `ps` once the server has read it; `patience_s` is how long
    it may take to end by itself."""

    command: list[str]
    environment: dict[str, str]
    secret: str
    supervisor: int
    folder: str
    host: str
    ports: dict[str, int]
    regions: str
    patience_s: float


def main() -> int:
    order = Order(**json.load(sys.stdin))
    stop = _stop_signals()
    folder = Path(order.folder)
    server = _start(order)
    try:
        runinfo.write(folder, _run_info(order, server.pid))
        print(server.pid, flush=True)
        _watch(server, order, stop)
    finally:
        end(server, order.patience_s)
        remove_regions(order.regions)
        (folder / runinfo.FILE).unlink(missing_ok=True)
    return server.returncode


def end(server: subprocess.Popen[bytes], patience_s: float) -> None:
    """SIGTERM, then SIGKILL for the server and for its stubs, which are in its process group."""
    server.terminate()
    try:
        server.wait(patience_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def remove_regions(prefix: str) -> None:
    """Remove the shared-memory regions of one server of ours; nobody else's names begin with its prefix."""
    if not prefix.startswith(REGIONS) or prefix == REGIONS:
        raise ValueError(f"{prefix!r} is not the prefix of one server's regions")
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def hide(pid: int, secret: bytes) -> None:
    """Overwrite the secret in a command line, which every user of the machine can read (proc_pid_mem(5))."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    begins = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[45])
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        at = command.find(secret)
        while at >= 0:
            memory.seek(begins + at)
            memory.write(b"*" * len(secret))
            at = command.find(secret, at + 1)


def _start(order: Order) -> subprocess.Popen[bytes]:
    """The server logs to where the guard's own errors go; stubs import from its working folder too."""
    return subprocess.Popen(
        order.command,
        env=order.environment,
        cwd=order.folder,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - the guard has one thread
    )


def _run_info(order: Order, server_pid: int) -> RunInfo:
    pid = os.getpid()
    return RunInfo(
        pid=pid,
        started=runinfo.start_time(pid) or 0,
        server_pid=server_pid,
        host=order.host,
        http_port=order.ports["http"],
        grpc_port=order.ports["grpc"],
        metrics_port=order.ports["metrics"],
        regions=order.regions,
    )


def _watch(server: subprocess.Popen[bytes], order: Order, stop: Sequence[int]) -> None:
    log = sys.stderr.fileno()
    silent, hidden = os.fstat(log).st_size, False
    while server.poll() is None and not stop and os.getppid() == order.supervisor:
        if not hidden and os.fstat(log).st_size > silent:  # it logs nothing before it has read its arguments
            hidden = True
            _hide_or_say(server.pid, order.secret)
        time.sleep(POLL_S)


def _hide_or_say(pid: int, secret: str) -> None:
    try:
        hide(pid, secret.encode())
    except OSError as error:
        print(f"perennial: the admin secret stays readable in `ps`: {error}", file=sys.stderr, flush=True)


def _stop_signals() -> list[int]:
    """Fills with the signals that ask this process to stop."""
    seen: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: seen.append(received))
    return seen


if __name__ == "__main__":
    sys.exit(main())

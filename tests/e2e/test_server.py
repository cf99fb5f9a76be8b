"""Claims about starting and stopping the embedded server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from perennial.errors import Unavailable
from perennial.server import guard, runinfo
from perennial.server.control import Control
from perennial.server.ports import Ports
from perennial.server.process import Launch, start
from perennial.server.runinfo import RunInfo, find_running
from perennial.server.stubs import stubs
from perennial.types import text_tensor
from serving import living, within

pytestmark = pytest.mark.e2e

SUPERVISOR = """
import sys, time
from pathlib import Path
from perennial.server.process import Launch, start
models, run, log, secret = sys.argv[1:]
start(Launch(Path(models), Path(run), Path(log), secret, models=("toy",)))
time.sleep(600)
"""


def regions(run: RunInfo) -> list[Path]:
    return list(guard.SHARED_MEMORY.glob(f"{run.regions}*"))


def family(run: RunInfo) -> list[psutil.Process]:
    """The guard, the server and its stubs."""
    guardian = psutil.Process(run.pid)
    return [guardian, *guardian.children(recursive=True)]


def nothing_remains(run: RunInfo, folder: Path) -> bool:
    return runinfo.read(folder) is None and not regions(run) and runinfo.start_time(run.server_pid) is None


def test_it_answers_and_stops_without_a_trace(toys: Launch) -> None:
    with start(toys) as server, Control(server.run.grpc_url, toys.secret) as control:
        answer = control.ask("toy", None, {"TEXT": text_tensor(["hi"])}, {"probe": True})
        assert answer["ANSWER"][0, 0] == b'HI HI from the environment {"probe":true}'
        assert find_running(toys.folder) == server.run
        assert len(regions(server.run)) == 3
        processes = family(server.run)
        assert len(processes) == 5
    assert nothing_remains(server.run, toys.folder)
    assert not living(processes)
    assert not server.alive


def test_a_supervisor_that_is_killed_leaves_nothing(toys: Launch) -> None:
    places = [str(place) for place in (toys.repository, toys.folder, toys.log)]
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, *places, toys.secret])
    try:
        assert within(30, lambda: find_running(toys.folder) is not None)
        run = find_running(toys.folder)
        assert run is not None
        with Control(run.grpc_url, toys.secret) as control:
            assert within(30, control.ready)
        processes = family(run)
    finally:
        supervisor.kill()
        supervisor.wait()
    assert within(10, lambda: nothing_remains(run, toys.folder))
    assert within(1, lambda: not living(processes))


def test_a_guard_that_is_killed_takes_the_server_along(toys: Launch) -> None:
    server = start(toys)
    processes = family(server.run)[1:]
    os.kill(server.run.pid, signal.SIGKILL)
    assert within(10, lambda: not living(processes))
    assert not server.alive and find_running(toys.folder) is None
    with start(toys):
        assert not regions(server.run), "the next start removes what the last server could not"
    server.stop()


def test_a_dead_stage_does_not_hold_up_the_end(toys: Launch) -> None:
    server = start(toys)
    stubs(server.run.server_pid)[toys.repository / "toy_count/1"][0].kill()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    assert nothing_remains(server.run, toys.folder)


def test_the_secret_cannot_be_read_off_the_process(toys: Launch) -> None:
    with start(toys) as server:
        commands = [Path(f"/proc/{process.pid}/cmdline") for process in family(server.run)]
        assert within(2, lambda: not any(toys.secret in command.read_text() for command in commands))
        assert toys.secret not in toys.log.read_text()


def test_a_port_that_is_taken_is_one_clear_line(toys: Launch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            Unavailable, match=rf"^grpc port {port} on 127\.0\.0\.1 .*server\.grpc_port"
        ) as error:
            start(replace(toys, ports=Ports(grpc=port)))
    assert "\n" not in str(error.value)


def test_a_model_that_fails_is_one_clear_line(toys: Launch) -> None:
    (toys.repository / "toy_upper/1/model.py").write_text("raise RuntimeError('no vocabulary')\n")
    with pytest.raises(Unavailable, match=r"failed to load 'toy_upper' version 1: .*no vocabulary") as error:
        start(toys)
    assert "\n" not in str(error.value) and str(toys.log) in str(error.value)
    assert runinfo.read(toys.folder) is None


def test_one_run_folder_has_one_server(toys: Launch) -> None:
    with start(toys) as server:
        with pytest.raises(Unavailable, match=rf"already runs .*pid {server.run.pid}.*perennial down"):
            start(toys)
        assert server.alive and find_running(toys.folder) == server.run


def test_a_repository_that_lacks_a_model_is_named_before_anything_starts(toys: Launch) -> None:
    with pytest.raises(Unavailable, match=r"the repository '.*' lacks nothing-here; copy them there"):
        start(replace(toys, models=(*toys.models, "nothing-here")))
    assert runinfo.read(toys.folder) is None

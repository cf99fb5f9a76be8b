"""Claims about finding a server that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from perennial.server import guard, runinfo
from perennial.server.runinfo import RunInfo


def a_run(pid: int, started: int) -> RunInfo:
    return RunInfo(pid, started, 1, "127.0.0.1", 8000, 8001, 8002, f"{guard.REGIONS}0123_")


def test_a_running_server_is_found(tmp_path: Path) -> None:
    me = a_run(os.getpid(), runinfo.start_time(os.getpid()) or 0)
    runinfo.write(tmp_path, me)
    assert runinfo.find_running(tmp_path) == me
    assert (me.http_url, me.grpc_url) == ("http://127.0.0.1:8000", "grpc://127.0.0.1:8001")


def test_a_pid_that_is_used_again_is_no_running_server(tmp_path: Path) -> None:
    runinfo.write(tmp_path, a_run(os.getpid(), 1))
    assert runinfo.find_running(tmp_path) is None


def test_a_dead_pid_and_a_torn_file_are_no_running_server(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    started = runinfo.start_time(gone.pid) or 0
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
    runinfo.write(tmp_path, a_run(gone.pid, started))
    assert runinfo.find_running(tmp_path) is None, "a zombie runs no more"
    gone.wait()
    assert runinfo.find_running(tmp_path) is None
    (tmp_path / runinfo.FILE).write_text('{"pid": 1')
    assert runinfo.find_running(tmp_path) is None

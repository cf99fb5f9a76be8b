"""Servers of others as a bench runs them: started, compared with a release, loaded, and ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from perennial.errors import Unavailable
from perennial_perf import payloads
from perennial_perf.benches._others import Others
from perennial_perf.benches._peer_processes import running
from perennial_perf.benches._servers import Server

QUESTION = payloads.http_json("/", {})

SERVER = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args):
        pass
    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(asked)))
        self.end_headers()
        self.wfile.write(asked)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "the worker"])
port = int(sys.argv[-1].partition("=")[2])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def test_a_server_runs_until_the_block_ends_and_its_workers_end_with_it(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)  # a database, where tests need one
    with running([sys.executable, "-c", SERVER], tmp_path / "log", QUESTION) as target:
        assert target.startswith("127.0.0.1:")
        children = [one for one in psutil.Process().children(recursive=True) if one not in before]
        assert any("the worker" in child.cmdline() for child in children)
    psutil.wait_procs(children, timeout=5)
    assert not [child for child in children if child.is_running()]


def test_a_server_that_says_something_else_than_the_release_is_not_measured(tmp_path: Path) -> None:
    requests = [payloads.http_json("/", {"label": label}) for label in ("good", "bad", "good")]
    server = Server(
        "echo",
        "fp32",
        requests,
        lambda: running([sys.executable, "-c", SERVER], tmp_path / "log", QUESTION),
        lambda reply: str(json.loads(reply)["label"]),
    )
    with server.start() as target:
        server.compare(target, {2: "good", 1: "bad"})
        with pytest.raises(Unavailable, match="answers 1 of 2 texts unlike the release"):
            server.compare(target, {0: "bad", 1: "bad"})
        row = server.load(target, clients=2, requests=20)
    assert row["failed"] == 0 and row["requests/s"] > 0 and 0 < row["p50"] <= row["p99"]


def test_what_runs_beside_the_bench_is_seen() -> None:
    spin = "import time; end = time.process_time() + 0.8\nwhile time.process_time() < end: pass"
    subprocess.run(["setsid", "--fork", sys.executable, "-c", spin], check=True)  # init's child, not ours
    others = Others()
    subprocess.run([sys.executable, "-c", spin], check=True)
    cores = psutil.cpu_count() or 1
    assert others.share() > 0.1 / cores


def test_a_server_that_dies_is_told_by_the_end_of_its_log(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        pytest.raises(Unavailable, match="ended with 3: no model here"),
        running([sys.executable, "-c", "print('no model here'); exit(3)"], tmp_path / "log", QUESTION),
    ):
        pass
    assert time.monotonic() - began < 10

"""The peers' folders, how they are asked, and how their processes begin and end."""

from __future__ import annotations

import json
import re
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
from perennial_perf.benches._peers import FOLDER, Kind, Peer, peers, quick_peers
from perennial_perf.benches._servers import OURS, Server
from perennial_perf.benches.peers import CROWD, SINGLE, Results, goals_of

FOLDERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())
PIN = re.compile(r'[a-z][a-z0-9-]*(\[[a-z,]+\])?==[0-9][0-9.]*( ; python_version (<|>=) "3\.\d+")?')
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


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_peers_folder_has_its_server_and_its_exact_pins_and_nothing_else(folder: Path) -> None:
    files = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    assert files == {"requirements.txt", "server.py"}
    lines = (folder / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins and all(PIN.fullmatch(line) for line in pins), pins


def test_every_folder_is_measured_and_the_quick_form_needs_no_torch() -> None:
    assert {peer.folder for peer in peers()} == {folder.name for folder in FOLDERS}
    assert quick_peers()
    for peer in quick_peers():
        assert "torch" not in peer.requirements.read_text()


@pytest.mark.parametrize("peer", peers(), ids=lambda peer: peer.name)
def test_a_peer_is_asked_in_whole_requests_of_its_own(peer: Peer) -> None:
    head, _, body = peer.requests(["a “text”"])[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST {peer.path} HTTP/1.1\r\n".encode())
    assert "a “text”" in json.dumps(json.loads(body), ensure_ascii=False)
    assert len({way.name for way in peer.ways()}) == len(peer.ways())


def test_a_server_runs_until_the_block_ends_and_its_workers_end_with_it(tmp_path: Path) -> None:
    with running([sys.executable, "-c", SERVER], tmp_path / "log", QUESTION) as target:
        assert target.startswith("127.0.0.1:")
        children = psutil.Process().children(recursive=True)
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


def test_a_peer_that_fails_has_no_figures_and_a_line_that_says_why() -> None:
    results = Results({})
    results.rows["peer"] = {1: [{"p50": 1.0}]}
    with results.noting("peer"):
        raise Unavailable("it is gone")
    assert (results.rows, results.notes) == ({}, ["peer: it is gone"])


def test_figures_are_medians_of_the_rounds_but_no_failure_and_no_stranger_is_lost_in_them() -> None:
    columns = ("p50", "failed", "others %")
    rounds = [dict(zip(columns, row, strict=True)) for row in ((9.0, 0, 1.0), (2.0, 3, 40.0), (3.0, 1, 0.0))]
    median = Results({}, {"peer": {8: rounds}}).median("peer", 8)
    assert median == {"p50": 3.0, "failed": 4, "others %": 40.0}


def test_goals_compare_with_the_best_of_each_kind_and_nobody_meets_nothing() -> None:
    def rows(p50: float, rate: float) -> dict[int, list[dict[str, float]]]:
        row = {"p50": p50, "requests/s": rate, "failed": 0, "others %": 0.0}
        return {clients: [row] for clients in (SINGLE, CROWD)}

    measured = {OURS: rows(5.0, 300.0), "slow": rows(20.0, 50.0), "graph": rows(10.0, 150.0)}
    kinds: dict[str, Kind] = {OURS: "ours", "slow": "fp32", "graph": "graph"}
    goals = goals_of(kinds, Results({}, measured))
    assert [(goal.value, goal.met) for goal in goals] == [(0.5, True), (6.0, True), (2.0, True), (0, True)]
    alone = goals_of({OURS: "ours"}, Results({}, {OURS: rows(5.0, 300.0)}))
    assert [goal.met for goal in alone] == [False, False, False, True]


def test_a_server_that_dies_is_told_by_the_end_of_its_log(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        pytest.raises(Unavailable, match="ended with 3: no model here"),
        running([sys.executable, "-c", "print('no model here'); exit(3)"], tmp_path / "log", QUESTION),
    ):
        pass
    assert time.monotonic() - began < 10

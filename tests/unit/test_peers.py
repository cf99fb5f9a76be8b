"""The peers' folders, how they are asked, and how their processes begin and end."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import psutil
import pytest

from perennial.errors import Unavailable
from perennial_perf import payloads
from perennial_perf.benches._peer_processes import running
from perennial_perf.benches._peers import FOLDER, Peer, peers, quick_peers

FOLDERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())
PIN = re.compile(r'[a-z][a-z0-9-]*(\[[a-z,]+\])?==[0-9][0-9.]*( ; python_version (<|>=) "3\.\d+")?')
QUESTION = payloads.http_json("/", {})

SERVER = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "the worker"])
port = int(sys.argv[-1].partition("=")[2])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
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


def test_a_server_that_dies_is_told_by_the_end_of_its_log(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        pytest.raises(Unavailable, match="ended with 3: no model here"),
        running([sys.executable, "-c", "print('no model here'); exit(3)"], tmp_path / "log", QUESTION),
    ):
        pass
    assert time.monotonic() - began < 10

"""The peers' folders, how they are asked, and how their processes begin and end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from perennial.errors import Unavailable
from perennial_perf.benches._peers import FOLDER, Kind, Peer, peers, quick_peers
from perennial_perf.benches._servers import OURS
from perennial_perf.benches.peers import CROWD, SINGLE, Results, goals_of

FOLDERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())
PIN = re.compile(r'[a-z][a-z0-9-]*(\[[a-z,]+\])?==[0-9][0-9.]*( ; python_version (<|>=) "3\.\d+")?')


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

"""perf_analyzer on a real server: what it measures, and what becomes of a request that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles import real_bundle
from perennial.errors import Unavailable
from perennial_perf.analyzer import analyzer, fetch
from services import Service
from serving import Served

pytestmark = pytest.mark.e2e


def test_it_asks_what_it_is_told_and_stops_at_a_request_that_fails(
    served: Served, tiny_release: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    folder = fetch(tmp_path, said.append)
    assert (fetch(tmp_path, said.append), len(said)) == (folder, 1)
    target = served.server.run.grpc_url.partition("//")[2]
    with Service(served, "asked") as service:
        service.promote(real_bundle(tiny_release, tmp_path / "1", 1, "asked"))
        with analyzer(folder, target, "asked", ["good", "a bad “day”"]) as load:
            row = load.measure(4, 40)
            assert row["requests/s"] > 0 and 0 < row["p50"] <= row["p99"]
        with (
            analyzer(folder, target, "asked", ["good", "  "]) as load,
            pytest.raises(Unavailable, match="is empty; send at least one character"),
        ):
            load.measure(1, 10)
    assert [path.name for path in tmp_path.iterdir() if path.name != "1"] == [folder.name]

"""The response cache, on a server of its own that has one: what it answers, and what it never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import real_bundle
from perennial import predictions
from perennial.server import metrics
from perennial.server.control import Control
from perennial.server.process import Launch, start
from perennial.state import State
from perennial.types import text_tensor
from services import Service
from serving import Served

pytestmark = pytest.mark.e2e

TEXT = "a good day"


@pytest.fixture(scope="module")
def cached(
    embedded_server: None, tiny_release: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Release 1 of a service, on a server with a cache."""
    folder = tmp_path_factory.mktemp("cached")
    state = State(folder / "var")
    launch = Launch(
        folder / "models",
        state.folder("run"),
        state.folder("logs") / "server.log",
        state.secret("admin").read_text(),
        environment={"PERENNIAL_KEY_FILE": str(state.secret("prediction-id").resolve())},
        cache_mb=8,
    )
    launch.repository.mkdir()
    with (
        start(launch) as server,
        Control(server.run.grpc_url, launch.secret, server.run.metrics_url) as control,
        Service(Served(server, control, launch.repository, state), "mood") as service,
    ):
        service.promote(real_bundle(tiny_release, folder / "1", 1))
        yield service


def hits(service: Service, release: int) -> int:
    text = metrics.read(service.served.server.run.metrics_url)
    model = f'model="mood_engine",version="{release}"'
    found = re.search(rf"nv_cache_num_hits_per_model\{{{model}\}} (\d+)", text)
    assert found
    return int(found[1])


def test_a_text_that_comes_again_is_answered_from_the_cache_with_an_id_of_its_own(cached: Service) -> None:
    first, again = cached.ask([TEXT]), cached.ask([TEXT])
    assert hits(cached, 1) == 1
    assert again["LABEL"] == first["LABEL"] and again["SCORE"] == first["SCORE"]
    assert again["PREDICTION_ID"] != first["PREDICTION_ID"]
    key = bytes.fromhex(cached.served.state.secret("prediction-id").read_text())
    predictions.verify(again["PREDICTION_ID"].item().decode(), TEXT.encode(), key)
    timed = cached.served.control.ask("mood_timed", None, {"TEXT": text_tensor([TEXT])})
    assert hits(cached, 1) == 2 and (timed["TIMINGS"] >= 0).all()
    cached.ask(["another day"])
    assert hits(cached, 1) == 2


def test_a_promoted_release_answers_for_itself(cached: Service, tiny_release: Path, tmp_path: Path) -> None:
    cached.ask([TEXT])
    cached.promote(real_bundle(tiny_release, tmp_path / "2", 2))
    before = hits(cached, 1)
    assert b"mood.2." in cached.ask([TEXT])["PREDICTION_ID"].item()
    assert (hits(cached, 1), hits(cached, 2)) == (before, 0)
    cached.ask([TEXT])
    assert hits(cached, 2) == 1

"""`perennial up` as a user has it: one process to start, to stop and to start again."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flow.workshops import SERVICE, news
from installation import Installation
from perennial.server.control import Control
from perennial.types import text_tensor
from perennial_client import Client, Feedback
from serving import living, within

pytestmark = pytest.mark.e2e


def regions() -> set[Path]:
    return set(Path("/dev/shm").iterdir())


def test_ctrl_c_leaves_nothing_and_the_next_start_serves_the_same(home: Installation) -> None:
    before = regions()
    with home.up() as (process, urls):
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 6, "guard, server, worker and the stages' processes"
        with Client(urls["grpc"]) as client:
            answer = client.predict(SERVICE, "the movie was great")
            client.feedback(answer, "positive", source="me")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert within(5, lambda: not living(children))
    assert regions() == before
    home.environment["PERENNIAL_SERVER__MEMORY_MB"] = "50"
    began = time.monotonic()
    with home.up() as (_, urls), Client(urls["http"]) as client:
        assert time.monotonic() - began < 20
        again = client.predict(SERVICE, "the movie was great")
        assert (again.label, again.release) == (answer.label, 1)
        assert home.service_status()["feedback"]["fresh"] == 1
    assert "MB, and server.memory_mb is 50: no release can be put" in (home.folder / "errors").read_text()


def test_killed_it_leaves_nothing_running(home: Installation) -> None:
    before = regions()
    with home.up() as (process, _):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert within(15, lambda: not living(children))
        assert within(5, lambda: regions() == before)


def worker_of(pid: int) -> psutil.Process | None:
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):  # it may be a zombie by now
            if "perennial.jobs" in child.cmdline():
                return child
    return None


def test_a_worker_that_is_killed_comes_back_and_the_server_answers_on(home: Installation) -> None:
    with home.up() as (process, urls), Client(urls["grpc"]) as client:
        first = worker_of(process.pid)
        assert first
        first.kill()
        assert within(10, lambda: worker_of(process.pid) not in (None, first))
        assert client.predict(SERVICE, "the movie was great").release == 1


def test_down_stops_it_and_a_second_up_is_refused(home: Installation) -> None:
    with home.up() as (process, urls):
        refused = home.run("up", "--json")
        assert refused.returncode == 1
        assert f"a server already runs on {home.folder / 'var'} ({urls['http']})" in refused.stdout
        assert home.told("down") == {"stopped": True}
        assert process.wait(30) == 0


def test_enough_corrections_become_a_release_without_a_failed_request(home: Installation) -> None:
    with (
        home.up() as (_, urls),
        Client(urls["grpc"]) as client,
        Control(urls["grpc"], secret="") as control,
    ):
        heads: dict[int, list[int]] = {1: [], 2: []}

        def release_that_answers() -> int:
            answer = control.ask(f"{SERVICE}_timed", None, {"TEXT": text_tensor(["day 7777 it was zzz"])})
            release = int(answer["PREDICTION_ID"].item().decode().split(".")[1])
            heads[release].append(int(answer["HEAD"].item()))
            return release

        client.feedback_many([Feedback(SERVICE, row.text, row.label, source="me") for row in news(400)])
        assert within(240, lambda: release_that_answers() == 2)
        assert heads[2][0] >= 1, "from its first answer on it has a head of what it was only judged by"
        assert client.predict(SERVICE, "day 7777 it was zzz").label == "negative"
        assert within(60, lambda: home.job_state() == "kept")
        assert home.told("rollback", SERVICE)["release"] == 1
        assert release_that_answers() == 1
        assert home.told("promote", SERVICE, "2")["release"] == 2
        assert release_that_answers() == 2

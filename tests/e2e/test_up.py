"""`perennial up` as a user has it: one process to start, to stop and to start again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from flow.workshops import SERVICE, TEACH, news
from perennial_client import Client, Feedback
from serving import living, within

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from perennial.cli import main; main()"]


class Installation:
    """A folder in which a user runs Perennial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PERENNIAL_STATE": str(folder / "var"),
            "PERENNIAL_REPOSITORY": str(folder / "repository"),
            **{f"PERENNIAL_SERVER__{name}_PORT": "0" for name in ("HTTP", "GRPC", "METRICS")},
            "PERENNIAL_WORKER__LEASE_S": "2",
            f"PERENNIAL_SERVICES__{SERVICE.upper()}": TEACH.model_copy(
                update={"trigger_count": 400, "watch_s": 5.0}
            ).model_dump_json(),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.environment, check=False
        )

    def told(self, *arguments: str) -> dict[str, object]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        said: dict[str, object] = json.loads(done.stdout)
        return said

    @contextmanager
    def up(self) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
        """It runs, and said where; it is stopped at the end if the test did not."""
        errors = (self.folder / "errors").open("w")
        process = subprocess.Popen(
            [*COMMAND, "up", "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        try:
            assert process.stdout
            line = process.stdout.readline()
            urls = json.loads(line or "{}")
            assert "grpc" in urls, line + (self.folder / "errors").read_text()
            yield process, urls
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            errors.close()

    def job_state(self) -> str:
        return str(self.service_status()["job"]["state"])

    def service_status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)["services"][SERVICE]
        return status


@pytest.fixture
def home(embedded_server: None, built: Path, tmp_path: Path) -> Installation:
    """Release 1 of the tiny service was built here."""
    folder = tmp_path / "home"
    shutil.copytree(built, folder)
    shutil.copytree(ROOT / "model_repository/feedback", folder / "repository/feedback")
    return Installation(folder)


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
    began = time.monotonic()
    with home.up() as (_, urls), Client(urls["http"]) as client:
        assert time.monotonic() - began < 20
        again = client.predict(SERVICE, "the movie was great")
        assert (again.label, again.release) == (answer.label, 1)
        assert home.service_status()["feedback"]["fresh"] == 1


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
    with home.up() as (_, urls), Client(urls["grpc"]) as client:

        def release_that_answers() -> int:
            return client.predict(SERVICE, "day 7777 it was zzz").release

        client.feedback_many([Feedback(SERVICE, row.text, row.label, source="me") for row in news(400)])
        assert within(240, lambda: release_that_answers() == 2)
        assert client.predict(SERVICE, "day 7777 it was zzz").label == "negative"
        assert within(60, lambda: home.job_state() == "kept")
        assert home.told("rollback", SERVICE)["release"] == 1
        assert release_that_answers() == 1
        assert home.told("promote", SERVICE, "2")["release"] == 2
        assert release_that_answers() == 2

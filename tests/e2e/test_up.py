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
from contextlib import contextmanager
from pathlib import Path

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
            assert line, (self.folder / "errors").read_text()
            yield process, json.loads(line)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            errors.close()

    def serving(self) -> int:
        status = json.loads(self.run("status", "--json").stdout)
        return int(status["services"][SERVICE]["release"])


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
        status = json.loads(home.run("status", "--json").stdout)
        assert status["services"][SERVICE]["feedback"]["fresh"] == 1


def test_killed_it_leaves_nothing_running(home: Installation) -> None:
    before = regions()
    with home.up() as (process, _):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert within(15, lambda: not living(children))
        assert within(5, lambda: regions() == before)


def test_down_stops_it_and_a_second_up_is_refused(home: Installation) -> None:
    with home.up() as (process, urls):
        refused = home.run("up", "--json")
        assert refused.returncode == 1
        assert f"a server already runs on {home.folder / 'var'} ({urls['http']})" in refused.stdout
        assert home.told("down") == {"stopped": True}
        assert process.wait(30) == 0


def test_enough_corrections_become_a_release_without_a_failed_request(home: Installation) -> None:
    with home.up() as (_, urls), Client(urls["grpc"]) as client:
        rows = [Feedback(SERVICE, row.text, row.label, source="someone") for row in news(400)]
        client.feedback_many(rows)
        until = time.monotonic() + 240
        releases = {client.predict(SERVICE, "day 7777 it was zzz").release}
        while home_release(home) != 2 and time.monotonic() < until:
            releases.add(client.predict(SERVICE, "day 7777 it was zzz").release)
        assert within(60, lambda: job_state(home) == "kept")
        answer = client.predict(SERVICE, "day 7777 it was zzz")
        assert (answer.label, answer.release) == ("negative", 2)
        assert home.told("rollback", SERVICE)["release"] == 1
        assert client.predict(SERVICE, "day 7777 it was zzz").release == 1
        assert home.told("promote", SERVICE, "2")["release"] == 2
        assert client.predict(SERVICE, "day 7777 it was zzz").release == 2


def home_release(home: Installation) -> int:
    time.sleep(0.5)
    return home.serving()


def job_state(home: Installation) -> str:
    status = json.loads(home.run("status", "--json").stdout)
    return str(status["services"][SERVICE]["job"]["state"])

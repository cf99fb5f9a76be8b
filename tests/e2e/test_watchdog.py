"""Claims about reviving a stage whose processes were killed, and about leaving others alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from perennial.errors import Broken, PerennialError
from perennial.server import examine
from perennial.server.control import Control
from perennial.server.examine import Question
from perennial.server.stubs import stubs
from perennial.server.watchdog import LINGER_S, Watchdog
from perennial.types import text_tensor
from serving import Served, living, within

pytestmark = pytest.mark.e2e

QUESTION = Question("toy", {"TEXT": text_tensor(["are you there"])})


@pytest.fixture(autouse=True)
def whole(served: Served) -> None:
    """What an earlier test killed is no excuse for the next."""
    assert within(5, lambda: all(answers(served.control) for _ in range(6)))


@pytest.fixture(scope="module")
def watchdog(served: Served) -> Watchdog:
    return Watchdog(served.control, lambda: [QUESTION], served.repository, served.server.run.server_pid)


@contextmanager
def running(watchdog: Watchdog) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=watchdog.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def loaded(served: Served, clients: int) -> Iterator[list[float]]:
    """Clients that ask without pause; when an ask went unanswered."""
    failures: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            if not answers(served.control):
                failures.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def processes(served: Served, model: str) -> list[psutil.Process]:
    """Those of version 1 that answer now."""
    found = stubs(served.server.run.server_pid)[served.repository / model / "1"]
    return found[-served.control.processes(model) :]


def kill(victims: list[psutil.Process]) -> None:
    for victim in victims:
        victim.kill()
    assert within(5, lambda: not living(victims))


def answers(control: Control) -> bool:
    try:
        control.ask("toy", None, QUESTION.tensors, timeout_s=5.0)
    except PerennialError:
        return False
    return True


@pytest.mark.parametrize(("model", "killed"), [("toy_upper", 1), ("toy_upper", 2), ("toy_count", 1)])
def test_a_killed_stage_answers_again_within_ten_seconds(
    served: Served, watchdog: Watchdog, model: str, killed: int
) -> None:
    kill(processes(served, model)[:killed])
    assert within(5, lambda: not answers(served.control))
    with running(watchdog):
        assert within(10, lambda: all(answers(served.control) for _ in range(4)))
    assert served.server.alive and served.control.versions(model) == [1]


def test_under_load_the_one_that_is_dead_is_found_too(served: Served, watchdog: Watchdog) -> None:
    """It takes a second for each failure, so that a question nearly always meets the other one."""
    with loaded(served, clients=8) as failures, running(watchdog):
        kill(processes(served, "toy_upper")[:1])
        assert within(5, lambda: bool(failures))
        assert within(10, lambda: time.monotonic() - failures[-1] > 3), "one that is dead fails each second"


def test_a_stage_that_hangs_is_revived(
    served: Served, watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "STUCK_S", 1.0)
    hanging = processes(served, "toy_count")[0]
    hanging.suspend()
    watchdog.round()
    assert answers(served.control)
    hanging.kill()


def test_the_processes_of_a_revived_stage_are_let_go(served: Served, watchdog: Watchdog) -> None:
    """Triton keeps the living siblings of a dead process for good, with all that they have loaded."""
    last = processes(served, "toy_upper")
    kill(last[:1])
    watchdog.round()
    assert answers(served.control)
    time.sleep(LINGER_S)
    watchdog.round()
    assert within(2, lambda: not living(last))
    assert len(processes(served, "toy_upper")) == 2 and answers(served.control)


def test_a_server_whose_processes_are_out_of_sight_is_watched_by_questions(served: Served) -> None:
    kill(processes(served, "toy_count"))
    assert not answers(served.control)
    Watchdog(served.control, lambda: [QUESTION], served.repository, None).round()
    assert answers(served.control)


def test_a_plain_load_revives_nothing(served: Served, watchdog: Watchdog) -> None:
    """Why the watchdog touches the version's folder."""
    served.control.load("toy_count")  # settles what the first import left newer on disk
    kill(processes(served, "toy_count"))
    served.control.load("toy_count")
    with pytest.raises(Broken):
        served.control.ask("toy", None, QUESTION.tensors)
    watchdog.round()
    assert answers(served.control)


def test_a_stage_that_is_only_slow_is_left_alone(served: Served, watchdog: Watchdog) -> None:
    before = processes(served, "toy_upper")
    slow = {"TEXT": text_tensor(["wait"])}
    clients = [threading.Thread(target=served.control.ask, args=("toy", None, slow)) for _ in range(4)]
    for client in clients:
        client.start()
        time.sleep(0.2)
    watchdog.round()
    for client in clients:
        client.join()
    assert processes(served, "toy_upper") == before

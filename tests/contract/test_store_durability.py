"""kill -9 at any moment: what was acknowledged is there once, and what was begun is finished once."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable
from itertools import chain, count
from multiprocessing.connection import Connection

import pytest

from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import NewFeedback, ServiceRecord

KILLS, CALL_ROWS, LEASE_S = 3, 5, 0.1
children = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True)
def service(store: Store) -> None:
    store.put_service(ServiceRecord("sentiment", "classify", ("negative", "positive")))


def rows(name: str) -> list[NewFeedback]:
    return [NewFeedback("sentiment", f"{name} {part}", "positive") for part in range(CALL_ROWS)]


def kill_while_it_runs(work: Callable[..., None], *args: object, after_s: float) -> list[tuple[str, ...]]:
    """Run `work` in a child, kill it `after_s` seconds after its first message, and give all its messages."""
    here, there = children.Pipe(duplex=False)
    child = children.Process(target=work, args=(*args, there))
    child.start()
    there.close()
    told = [here.recv()]
    time.sleep(after_s)
    child.kill()
    child.join()
    while True:
        try:
            told.append(here.recv())
        except EOFError:
            return told


def write(url: str, name: str, tell: Connection) -> None:
    store = open_store(url)
    tell.send(())
    for call in count():
        tell.send((f"{name}.{call}", *store.add_feedback(rows(f"{name}.{call}"))))


def test_an_acknowledged_row_is_there_once_after_kill_9(url: str, store: Store) -> None:
    moments = random.Random(0)
    acknowledged = list(
        chain.from_iterable(
            kill_while_it_runs(write, url, str(kill), after_s=moments.uniform(0.01, 0.1))
            for kill in range(KILLS)
        )
    )
    stored = store.feedback("sentiment", limit=100_000)
    texts = {one.receipt: one.text for one in stored}
    assert len(acknowledged) > 2 * KILLS
    for name, *receipts in filter(None, acknowledged):
        assert [texts[receipt] for receipt in receipts] == [row.text for row in rows(name)]
    assert len({one.text for one in stored}) == len(stored)
    assert len(stored) % CALL_ROWS == 0  # a call that was not acknowledged is there whole or not at all


def index(url: str, name: str, tell: Connection) -> None:
    store = open_store(url)
    tell.send(())
    for call in count():
        documents = {f"{name}/{call}/{part}": f"{call}" for part in range(CALL_ROWS)}
        tell.send((f"{name}/{call}/", str(store.put_documents("topics", documents))))


def test_documents_that_were_acknowledged_are_there_after_kill_9(url: str, store: Store) -> None:
    acknowledged = kill_while_it_runs(index, url, "a", after_s=0.1)
    names = [one.name for one in store.documents("topics")]
    assert len(acknowledged) > 2 and len(names) % CALL_ROWS == 0
    for folder, _ in filter(None, acknowledged):
        assert sum(name.startswith(folder) for name in names) == CALL_ROWS


def work(url: str, tell: Connection | None = None) -> None:
    """Claim and settle until nothing is left; every third release is refused."""
    store = open_store(url)
    while not (lease := store.acquire("worker", str(os.getpid()), LEASE_S)):
        time.sleep(0.01)
    if tell:
        tell.send(())
    while store.backlog("sentiment", 1000).fresh or any(job.open for job in store.jobs()) or _waiting(store):
        store.enqueue("sentiment", "rebuild", "test", {})
        job = store.next_job(lease)
        assert job
        claimed = [row.row for row in store.claim(job, lease, 20, 1000)]
        assert job.steps.get("snapshot", {"rows": claimed}) == {"rows": claimed}
        job = store.record(job, lease, "snapshot", {"rows": claimed})
        store.settle(job, lease, "kept" if job.release % 3 else "refused")
    store.release(lease)
    store.close()


def _waiting(store: Store) -> int:
    return store.backlog("sentiment", 1000).waiting


def test_every_row_is_learned_once_though_workers_are_killed(url: str, store: Store) -> None:
    for call in range(60):
        store.add_feedback(rows(str(call)))
    moments = random.Random(0)
    for _ in range(KILLS):
        kill_while_it_runs(work, url, after_s=moments.uniform(0.0, 0.06))
    work(url)
    kept = [job.steps["snapshot"]["rows"] for job in store.jobs(limit=1000) if job.state == "kept"]
    learned = list(chain.from_iterable(kept))
    assert sorted(learned) == [row.row for row in store.feedback("sentiment")]

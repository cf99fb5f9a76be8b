"""Jobs that a person asks for: which one is run, and who runs it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from perennial.cli.build import enqueue_build
from perennial.cli.learn import run_here_or_follow
from perennial.errors import Conflict
from perennial.jobs.worker import Worker
from perennial.jobs.workshop import Workshop
from perennial.store_protocol import WORKER
from perennial.types import Job, Lease


def ask(shop: Workshop, file: Path, rows: str = "rows") -> Job:
    file.write_text(rows)
    return enqueue_build(shop, "tone", "classify", Path("encoder"), file)


def test_a_build_that_was_broken_off_is_gone_on_with(shop: Workshop, tmp_path: Path) -> None:
    assert ask(shop, tmp_path / "data") == ask(shop, tmp_path / "data")


@pytest.mark.parametrize(("name", "rows"), [("other", "rows"), ("data", "rows, mended")])
def test_a_build_from_other_data_takes_the_place_of_one_that_was_broken_off(
    shop: Workshop, tmp_path: Path, name: str, rows: str
) -> None:
    first = ask(shop, tmp_path / "data")
    second = ask(shop, tmp_path / name, rows)
    assert (shop.store.job(first.id).state, second.state) == ("cancelled", "queued")
    assert second.payload["data"] == str(tmp_path / name)
    assert second.release == first.release + 1
    assert shop.store.lease(WORKER) is None, "a worker may begin at once"


def test_a_build_that_a_worker_has_is_not_taken_from_it(shop: Workshop, tmp_path: Path) -> None:
    first = ask(shop, tmp_path / "data")
    assert shop.store.acquire(WORKER, "a worker", 60.0)
    with pytest.raises(
        Conflict, match=rf"job {first.id} is another build of 'tone', .* stop the worker, and ask again"
    ):
        ask(shop, tmp_path / "other")
    assert shop.store.jobs() == [first]


def test_a_job_whose_worker_stops_is_run_here(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    job = shop.store.enqueue("tone", "rebuild", "test", {})
    began = time.monotonic()
    assert shop.store.acquire(WORKER, "a worker that stops", 0.5)

    def run(worker: Worker, waiting: Job, lease: Lease) -> None:
        shop.store.settle(waiting, lease, "kept")

    monkeypatch.setattr(Worker, "run", run)
    run_here_or_follow(shop, job, quiet=True)
    assert shop.store.job(job.id).state == "kept"
    assert time.monotonic() - began > 0.4, "the lease was another's until then"
    assert shop.store.lease(WORKER) is None


def test_a_job_that_another_worker_settles_is_followed_to_its_end(shop: Workshop) -> None:
    job = shop.store.enqueue("tone", "rebuild", "test", {})
    lease = shop.store.acquire(WORKER, "a worker", 60.0)
    assert lease
    settling = threading.Timer(0.5, shop.store.settle, (job, lease, "refused"))
    settling.start()
    run_here_or_follow(shop, job, quiet=True)
    assert shop.store.job(job.id).state == "refused"
    settling.join()

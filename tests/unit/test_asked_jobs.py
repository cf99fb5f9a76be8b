"""Jobs that a person asks for: which one is run, and who runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.cli.learn import enqueue_build
from perennial.errors import Conflict
from perennial.jobs.worker import LEASE
from perennial.jobs.workshop import Workshop
from perennial.types import Job


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
    assert shop.store.lease(LEASE) is None, "a worker may begin at once"


def test_a_build_that_a_worker_has_is_not_taken_from_it(shop: Workshop, tmp_path: Path) -> None:
    first = ask(shop, tmp_path / "data")
    assert shop.store.acquire(LEASE, "a worker", 60.0)
    with pytest.raises(Conflict, match=rf"job {first.id} builds 'tone' .* stop the worker, and ask again"):
        ask(shop, tmp_path / "other")
    assert shop.store.jobs() == [first]

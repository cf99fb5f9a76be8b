"""Workshops for the flow: release 1 as it was built, and what a rebuild made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.workshops import SERVICE, copied, news, run
from perennial.jobs.workshop import Workshop


@pytest.fixture(scope="session")
def learned(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which release 2, which learned 400 rows of news, serves; to be copied."""
    folder = tmp_path_factory.mktemp("learned") / "copy"
    shop = copied(built, folder)
    shop.store.add_feedback(news(400))
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done
    shop.store.close()
    return folder


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Iterator[Workshop]:
    """Release 1 serves."""
    opened = copied(built, tmp_path / "copy")
    yield opened
    opened.store.close()


@pytest.fixture
def taught(learned: Path, tmp_path: Path) -> Iterator[Workshop]:
    """Release 2 serves, and has learned 400 rows."""
    opened = copied(learned, tmp_path / "copy")
    yield opened
    opened.store.close()

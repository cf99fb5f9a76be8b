"""A store for tests of the feedback model, a copy of one that was made once; and a workshop."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from perennial.config import Settings
from perennial.jobs.workshop import Workshop, open_workshop
from perennial.stores.sqlite import SqliteStore
from watched import SENTIMENT, STRICT, WatchedStore


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To make its schema takes longer than most tests."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    SqliteStore(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def store_template(empty_store: Path) -> Path:
    path = Path(shutil.copy(empty_store, empty_store.parent / "template.db"))
    store = SqliteStore(f"sqlite:///{path}")
    for service in (SENTIMENT, STRICT):
        store.put_service(service)
    store.close()
    return path


@pytest.fixture
def store(store_template: Path, tmp_path: Path) -> Iterator[WatchedStore]:
    opened = WatchedStore(f"sqlite:///{shutil.copy(store_template, tmp_path / 'store.db')}")
    yield opened
    opened.close()


@pytest.fixture
def shop(empty_store: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A workshop in which nothing was made yet."""
    (tmp_path / "var").mkdir()
    shutil.copy(empty_store, tmp_path / "var/store.db")
    opened = open_workshop(Settings(state=tmp_path / "var", repository=tmp_path / "repository"))
    yield opened
    opened.store.close()

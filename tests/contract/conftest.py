"""Databases for the store's contract: for each member an empty one, or one whose schema is there already; and
a predictor that is told what to say, for the gates'."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

import databases
from databases import Place
from fakes import FakePredictor
from perennial import plugins
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.tasks.classify.codec import ClassifyCodec
from tiny import tiny_codec


@pytest.fixture(scope="session", params=plugins.names("stores"))
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture(scope="session")
def sqlite_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder, numbers = tmp_path_factory.mktemp("sqlite"), count(1)

    def empty() -> Path:
        return folder / f"{next(numbers)}.db"

    template = empty()
    open_store(f"sqlite:///{template}").close()
    return Place(
        empty=lambda: f"sqlite:///{empty()}",
        migrated=lambda: f"sqlite:///{shutil.copy(template, empty())}",
    )


@pytest.fixture(scope="session")
def postgres_place() -> Iterator[Place]:
    if reason := databases.missing():
        pytest.skip(reason)
    with databases.running_postgres() as server:
        migrated = server.database()
        open_store(migrated).close()
        yield Place(empty=server.database, migrated=lambda: databases.without_rows(migrated))


@pytest.fixture
def url(place: Place) -> str:
    return place.migrated()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FakePredictor]:
    """Makes one, of a real codec, that says what it is told."""
    return partial(FakePredictor, ClassifyCodec(tiny_codec(tmp_path_factory.mktemp("codec"))))

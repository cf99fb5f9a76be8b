"""How stores open: their schema, several processes at once, and what they say where they cannot."""

from __future__ import annotations

import multiprocessing
import re
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from databases import Place
from perennial.errors import Broken, ConfigError, Unavailable
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.stores._migrate import MIGRATIONS, VERSION_TABLE
from perennial.stores._schema import REVISION, metadata
from perennial.stores._sql import SqlStore
from perennial.stores.sqlite import SqliteStore, _require_version, sqlite3
from perennial.types import ServiceRecord

SERVICE = ServiceRecord("sentiment", "classify", ("negative", "positive"))
PROCESSES = 3
children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["alembic.command", "perennial.stores.sqlite", "perennial.stores.postgres"])


def run_sql(url: str, statement: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqlStore)
    with store._database.write() as connection:
        connection.execute(text(statement))
    store.close()


def open_and_write(url: str, name: str) -> None:
    store = open_store(url)
    store.put_service(ServiceRecord(name, "classify", ("a", "b")))
    store.close()


def test_processes_may_open_an_empty_store_at_once(place: Place) -> None:
    url = place.empty()
    started = [children.Process(target=open_and_write, args=(url, f"s{n}")) for n in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(30)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    store = open_store(url)
    assert sorted(store.services()) == [f"s{n}" for n in range(PROCESSES)]
    store.close()


def test_the_migrations_make_what_the_schema_says(store: Store) -> None:
    assert isinstance(store, SqlStore)
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION
    with store._database.read() as connection:
        options = {"version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_what_was_stored_is_there_when_the_store_opens_again(url: str) -> None:
    store = open_store(url)
    store.put_service(SERVICE)
    store.close()
    again = open_store(url)
    assert again.services() == {"sentiment": SERVICE}
    again.close()


def test_a_newer_schema_is_refused(place: Place) -> None:
    url = place.empty()
    run_sql(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(Broken, match=r"schema is '9999' and this Perennial knows 0001 to .*newer version"):
        open_store(url)


def test_tables_of_somebody_else_are_left_alone(place: Place) -> None:
    url = place.empty()
    run_sql(url, f"DROP TABLE {VERSION_TABLE}")
    with pytest.raises(Broken, match=r"feedback.* but no perennial_schema"):
        open_store(url)


def test_a_store_that_can_take_rows_says_so(store: Store) -> None:
    store.ping()


@pytest.mark.parametrize(
    ("url", "way_out"),
    [
        ("sqlite:////nowhere/store.db", "check that its folder exists"),
        ("postgresql://me:secret@127.0.0.1:1/x", "check that PostgreSQL runs"),
    ],
)
def test_a_store_that_is_not_there_is_unavailable_and_keeps_its_password(url: str, way_out: str) -> None:
    with pytest.raises(Unavailable, match=way_out) as error:
        open_store(url)
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is a diary, not a database\n" * 100)
    with pytest.raises(Broken, match="damaged: file is not a database"):
        open_store(f"sqlite:///{tmp_path}/store.db")


@pytest.mark.parametrize("url", ["mysql://host/x", "store.db", ""])
def test_an_unknown_kind_of_url_is_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("begins with sqlite:/// or postgresql://")):
        open_store(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_sqlite_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no file"):
        open_store(url)


def test_a_sqlite_whose_wal_can_be_corrupted_is_refused() -> None:
    with pytest.raises(Unavailable, match=r"SQLite 3\.40\.1 .*pysqlite3"):
        _require_version((3, 40, 1))


def test_a_sqlite_that_another_opens_right_now_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    leaves = threading.Timer(0.2, other.execute, ["ROLLBACK"])
    leaves.start()
    open_store(f"sqlite:///{tmp_path}/store.db").close()
    leaves.join()
    other.close()


def test_sqlite_syncs_every_commit(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/store.db")
    settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    with store._database.read() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in settings}
    store.close()
    assert found == settings

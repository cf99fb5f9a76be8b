"""The store in one SQLite file: for one machine, with nothing to install or to run.

WAL, so that readers never wait; synchronous FULL, so that what was acknowledged survives a power cut.
"""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

from perennial.errors import ConfigError, Unavailable
from perennial.stores._database import WRITES, Database, to_json
from perennial.stores._sql import SqlStore

try:
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:  # its wheels are for Linux; elsewhere Python's own may be new enough
    import sqlite3

__all__ = ["SqliteStore"]

OLDEST = (3, 51, 3)
BUSY_TIMEOUT_MS = 10_000


class SqliteStore(SqlStore):
    def __init__(self, url: str) -> None:
        """`sqlite:////absolute/path` or `sqlite:///relative/path`; the file is made, its folder is not."""
        _require_version(sqlite3.sqlite_version_info)
        parsed = make_url(url)
        _require_file(parsed)
        super().__init__(
            Database(
                _engine(parsed),
                "check that its folder exists, is writable and has room, and who else holds it",
            )
        )


def _require_version(version: tuple[int, ...]) -> None:
    if version < OLDEST:
        raise Unavailable(
            f"SQLite {'.'.join(map(str, version))} can corrupt a WAL database (mended in "
            f"{'.'.join(map(str, OLDEST))}); pip install 'pysqlite3>=0.6.1', or use a postgresql:// store"
        )


def _require_file(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise ConfigError(
            f"{url} names no file, and feedback must outlive its process; write sqlite:////var/lib/perennial/store.db"
        )


def _engine(url: URL) -> Engine:
    engine = create_engine(url.set(drivername="sqlite+pysqlite"), module=sqlite3, json_serializer=to_json)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin` does
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: Any) -> None:
    """Of processes that open a new file at once SQLite refuses all but one, whatever its busy timeout."""
    until = monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > until:
                raise
            sleep(0.01)


def _begin(connection: Connection) -> None:
    """A writer takes the one write lock at once: taken later, after a read, it can be refused."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

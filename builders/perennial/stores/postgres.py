"""The store in PostgreSQL (12 or later): for several machines, or where one is run and backed up already."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

from perennial.errors import Unavailable
from perennial.stores._database import WRITES, Database, to_json
from perennial.stores._sql import SqlStore

__all__ = ["PostgresStore"]

LINE_OF_WRITERS = 0x7065_7265_6E6E  # any number that other users of the database's advisory locks do not use
SETTINGS = (
    "synchronous_commit = on",  # an acknowledged row survives a power cut, whatever the database's default
    "lock_timeout = '10s'",
    "idle_in_transaction_session_timeout = '30s'",  # a writer that froze leaves the line
)


class PostgresStore(SqlStore):
    def __init__(self, url: str) -> None:
        """`postgresql://user:password@host/database`, or any other URL that libpq takes."""
        super().__init__(
            Database(_engine(make_url(url)), "check that PostgreSQL runs and that the URL is right")
        )


def _engine(url: URL) -> Engine:
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, json_serializer=to_json
        )
    except ModuleNotFoundError as missing:
        raise Unavailable(
            f"a postgresql:// store needs {missing.name}, which is not installed; "
            "pip install 'perennial[postgres]'"
        ) from None
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    for setting in SETTINGS:
        connection.execute(f"SET {setting}")
    connection.commit()


def _begin(connection: Connection) -> None:
    """A writer waits for its place; the lock ends with the transaction, and with a killed process."""
    if connection.get_execution_options().get(WRITES):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LINE_OF_WRITERS})")

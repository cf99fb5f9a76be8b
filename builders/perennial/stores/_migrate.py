"""Brings a database's schema up to date when a store opens. What changed when is told in `_migrations/`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from perennial.errors import Broken
from perennial.stores._database import Database
from perennial.stores._schema import REVISION, metadata

VERSION_TABLE = "perennial_schema"  # not alembic's own name: a user's database may have its own migrations
MIGRATIONS = Path(__file__).parent / "_migrations"

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32)))


def migrate(database: Database) -> None:
    """Idempotent; of processes that open at once, one migrates in one transaction and the others wait."""
    with database.read() as connection:
        if _revision(connection) == REVISION:
            return
    with database.write() as connection:
        found = _revision(connection)  # another process may have been quicker
        if found != REVISION:
            _refuse_strangers(connection, found)
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(_version.c.version_num)).scalar()


def _refuse_strangers(connection: Connection, found: str | None) -> None:
    known = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    if found is not None and found not in known:
        raise Broken(
            f"the store's schema is {found!r} and this Perennial knows {known[0]} to {known[-1]}: a newer "
            "version wrote it; install that version, or open a backup made before its upgrade"
        )
    ours = set(metadata.tables) & set(inspect(connection).get_table_names())
    if found is None and ours:
        raise Broken(
            f"the database holds tables {sorted(ours)} but no {VERSION_TABLE}: it is not Perennial's, "
            "or one older than schema 0001; give an empty database"
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command  # a quarter of a second that an up-to-date store need not wait
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, REVISION)

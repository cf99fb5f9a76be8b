"""Runs the migrations, for alembic, inside the transaction of the connection that the store hands over."""

from __future__ import annotations

from alembic import context

from perennial.stores._migrate import VERSION_TABLE
from perennial.stores._schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()

"""One statement more than SQL has: the row of a key as it is now, whether there was one or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, and_, insert, update


def put(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """In a write transaction: nobody comes between the update that finds no row and the insert."""
    same = and_(*(table.c[name] == value for name, value in key.items()))
    if not connection.execute(update(table).where(same).values(values)).rowcount:
        connection.execute(insert(table).values({**key, **values}))

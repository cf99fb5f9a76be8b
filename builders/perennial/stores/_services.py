"""Statements on services: what each accepts, and when it is due for a rebuild."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, insert, select, update

from perennial.stores._schema import services
from perennial.types import ServiceRecord


def put(connection: Connection, record: ServiceRecord) -> None:
    """In a write transaction: nobody comes between the update that finds no row and the insert."""
    columns = asdict(record)
    changed = connection.execute(update(services).where(services.c.name == record.name).values(columns))
    if not changed.rowcount:
        connection.execute(insert(services).values(columns))


def known(connection: Connection) -> dict[str, ServiceRecord]:
    found = [dict(row._mapping) for row in connection.execute(select(services).order_by(services.c.name))]
    return {row["name"]: ServiceRecord(**{**row, "labels": tuple(row["labels"])}) for row in found}

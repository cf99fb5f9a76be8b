"""Statements on services: what each accepts, and when it is due for a rebuild."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, select

from perennial.stores import _put
from perennial.stores._schema import services
from perennial.types import ServiceRecord


def put(connection: Connection, record: ServiceRecord) -> None:
    _put.put(connection, services, {"name": record.name}, asdict(record))


def known(connection: Connection) -> dict[str, ServiceRecord]:
    found = [dict(row._mapping) for row in connection.execute(select(services).order_by(services.c.name))]
    return {row["name"]: ServiceRecord(**{**row, "labels": tuple(row["labels"])}) for row in found}

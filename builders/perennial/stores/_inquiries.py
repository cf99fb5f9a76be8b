"""Statements on inquiries: a question that a stage leaves for the worker, and what it is told.

Functions that change anything run in a write transaction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from perennial.errors import Unavailable
from perennial.store_protocol import MAX_INQUIRIES
from perennial.stores._schema import inquiries
from perennial.types import Inquiry

KEPT_S = 60.0
"""What nobody fetched by then was asked by somebody who is gone."""

_columns = [inquiries.c[name] for name in ("number", "service", "text", "most")]


def add(connection: Connection, service: str, text: str, most: int) -> int:
    now = time.time()
    connection.execute(delete(inquiries).where(inquiries.c.asked_at < now - KEPT_S))
    if connection.execute(select(func.count()).select_from(inquiries)).scalar_one() >= MAX_INQUIRIES:
        raise Unavailable(f"{MAX_INQUIRIES} others wait to hear why already; ask again in a few seconds")
    row = {"service": service, "text": text, "most": most, "asked_at": now}
    return int(connection.execute(insert(inquiries).returning(inquiries.c.number), row).scalar_one())


def waiting(connection: Connection) -> list[Inquiry]:
    asked = inquiries.c.told.is_(None) & (inquiries.c.asked_at >= time.time() - KEPT_S)
    query = select(*_columns).where(asked).order_by(inquiries.c.number)
    return [Inquiry(*found) for found in connection.execute(query)]


def tell(connection: Connection, number: int, told: Mapping[str, Any]) -> None:
    connection.execute(update(inquiries).where(inquiries.c.number == number).values(told=dict(told)))


def told(connection: Connection, number: int) -> dict[str, Any] | None:
    same = inquiries.c.number == number
    found = connection.execute(select(inquiries.c.told).where(same)).scalar()
    return dict(found) if found else None


def drop(connection: Connection, number: int) -> None:
    connection.execute(delete(inquiries).where(inquiries.c.number == number))

"""Statements on the sample of texts that were asked: the newest of each service, and nobody's name.

Functions that change anything run in a write transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from perennial.stores._schema import requests


def add(connection: Connection, service: str, texts: Sequence[str], most: int) -> None:
    """Then let go of all but the newest `most`."""
    connection.execute(insert(requests), [{"service": service, "text": text} for text in texts])
    of_service = requests.c.service == service
    newest = select(requests.c.number).where(of_service).order_by(requests.c.number.desc())
    oldest = connection.execute(newest.offset(most).limit(1)).scalar()
    if oldest is not None:
        connection.execute(delete(requests).where(of_service & (requests.c.number <= oldest)))


def newest(connection: Connection, service: str) -> list[str]:
    query = select(requests.c.text).where(requests.c.service == service).order_by(requests.c.number.desc())
    return [*connection.execute(query).scalars()]


def forget(connection: Connection, service: str) -> int:
    gone = delete(requests).where(requests.c.service == service)
    return int(connection.execute(gone).rowcount)

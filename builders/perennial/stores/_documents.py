"""Statements on documents: what services are to find, and where the engines of their releases place it.

Functions that change anything run in a write transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, and_, delete, func, insert, select

from perennial.stores._schema import document_vectors as vectors
from perennial.stores._schema import documents
from perennial.types import Document, Placed


def put(connection: Connection, service: str, changes: Mapping[str, str | None]) -> int:
    """Each takes the place of what was there of its name; the number of the last change."""
    mine = (documents.c.service == service) & documents.c.name.in_([*changes])
    connection.execute(delete(documents).where(mine))
    for name, text in changes.items():
        row = {"service": service, "name": name, "text": text}
        last = connection.execute(insert(documents).returning(documents.c.number), row).scalar_one()
    return int(last)


def newest(connection: Connection, service: str) -> int:
    query = select(func.max(documents.c.number)).where(documents.c.service == service)
    return int(connection.execute(query).scalar() or 0)


def changed(connection: Connection, service: str, after: int) -> list[Document]:
    query = _changed(service, after).order_by(documents.c.number)
    return [Document(*found) for found in connection.execute(query)]


def unplaced(connection: Connection, service: str, release: int, after: int, limit: int) -> list[Document]:
    same = and_(vectors.c.number == documents.c.number, vectors.c.release == release)
    query = _changed(service, after).outerjoin_from(documents, vectors, same)
    query = query.where(vectors.c.number.is_(None)).order_by(documents.c.number).limit(limit)
    return [Document(*found) for found in connection.execute(query)]


def place(connection: Connection, release: int, placed: Mapping[int, bytes]) -> None:
    """Those that are there still, and are not placed yet."""
    there = set(connection.scalars(select(documents.c.number).where(documents.c.number.in_([*placed]))))
    known = vectors.c.number.in_([*placed]) & (vectors.c.release == release)
    there -= set(connection.scalars(select(vectors.c.number).where(known)))
    rows = [
        {"number": number, "release": release, "vector": vector}
        for number, vector in placed.items()
        if number in there
    ]
    if rows:
        connection.execute(insert(vectors), rows)


def placed(connection: Connection, service: str, release: int, newer_than: int) -> list[Placed]:
    query = (
        select(vectors.c.version, documents.c.name, vectors.c.vector)
        .join_from(vectors, documents, vectors.c.number == documents.c.number)
        .where(documents.c.service == service, vectors.c.release == release, vectors.c.version > newer_than)
        .order_by(vectors.c.version)
    )
    return [Placed(*found) for found in connection.execute(query)]


def drop(connection: Connection, service: str, kept: Collection[int]) -> None:
    """What is known of the places of all releases but these."""
    mine = select(documents.c.number).where(documents.c.service == service)
    connection.execute(delete(vectors).where(vectors.c.number.in_(mine), vectors.c.release.not_in([*kept])))


def _changed(service: str, after: int):  # type: ignore[no-untyped-def]  # SQLAlchemy's types grow with columns
    columns = (documents.c.number, documents.c.name, documents.c.text)
    return select(*columns).where(documents.c.service == service, documents.c.number > after)

"""Statements on heads: what engines said of feedback, the weights in force, orders, and what was forgotten.

Functions that change anything run in a write transaction.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from perennial.stores import _put
from perennial.stores._jobs import ROWS_A_QUERY
from perennial.stores._schema import feedback, forgotten, head_orders, head_rows, heads
from perennial.types import Head, HeadOrders, HeadRow

_columns = [heads.c[name] for name in ("service", "release", "weights", "figures", "version", "created_at")]


def add_rows(connection: Connection, release: int, rows: Sequence[HeadRow]) -> None:
    """Of rows that are still there; a second time changes nothing."""
    numbers = [row.row for row in rows]
    there = set(connection.execute(select(feedback.c.row).where(feedback.c.row.in_(numbers))).scalars())
    same = (head_rows.c.release == release) & head_rows.c.row.in_(numbers)
    known = set(connection.execute(select(head_rows.c.row).where(same)).scalars())
    new = [{"release": release, **asdict(row)} for row in rows if row.row in there - known]
    if new:
        connection.execute(insert(head_rows), new)


def rows(connection: Connection, service: str, release: int) -> list[HeadRow]:
    which = (feedback.c.service == service) & (head_rows.c.release == release)
    query = (
        select(head_rows.c.row, head_rows.c.features, head_rows.c.residuals, head_rows.c.was_right)
        .join(feedback, feedback.c.row == head_rows.c.row)
        .where(which)
        .order_by(head_rows.c.row)
    )
    return [HeadRow(*found) for found in connection.execute(query)]


def prequential(connection: Connection, service: str, release: int, newest: int) -> list[bool]:
    known = head_rows.c.was_right.is_not(None)
    query = (
        select(head_rows.c.was_right)
        .join(feedback, feedback.c.row == head_rows.c.row)
        .where((feedback.c.service == service) & (head_rows.c.release == release) & known)
        .order_by(head_rows.c.row.desc())
        .limit(newest)
    )
    return [*connection.execute(query).scalars()][::-1]


def put(connection: Connection, head: Head) -> int:
    """The version that it got: one above the release's newest."""
    same = (heads.c.service == head.service) & (heads.c.release == head.release)
    version = (connection.execute(select(heads.c.version).where(same)).scalar() or 0) + 1
    _put.put(
        connection,
        heads,
        {"service": head.service, "release": head.release},
        {
            "version": version,
            "weights": head.weights,
            "figures": dict(head.figures),
            "created_at": time.time(),
        },
    )
    return version


def newer(connection: Connection, service: str, release: int, version: int) -> Head | None:
    same = (heads.c.service == service) & (heads.c.release == release) & (heads.c.version > version)
    found = connection.execute(select(*_columns).where(same)).first()
    return Head(**found._mapping) if found else None


def drop(connection: Connection, service: str, kept: Collection[int]) -> None:
    """All that is known of releases other than these."""
    of_service = select(feedback.c.row).where(feedback.c.service == service)
    gone = head_rows.c.release.not_in(kept) & head_rows.c.row.in_(of_service)
    connection.execute(delete(head_rows).where(gone))
    connection.execute(delete(heads).where((heads.c.service == service) & heads.c.release.not_in(kept)))


def orders(connection: Connection, service: str) -> HeadOrders:
    columns = (head_orders.c.since_row, head_orders.c.until_row, head_orders.c.generation)
    found = connection.execute(select(*columns).where(head_orders.c.service == service)).first()
    return HeadOrders(**found._mapping) if found else HeadOrders()


def order(connection: Connection, service: str, since_row: int | None, until_row: int | None) -> HeadOrders:
    """None leaves an order as it is."""
    old = orders(connection, service)
    new = HeadOrders(
        old.since_row if since_row is None else since_row,
        old.until_row if until_row is None else until_row,
        old.generation + 1,
    )
    _put.put(connection, head_orders, {"service": service}, asdict(new))
    return new


def forget(
    connection: Connection,
    service: str,
    rows: Sequence[int] | None,
    source: str | None,
    before: float | None,
) -> list[int]:
    """Delete these rows, all of a source, and all from before a time: what they said, and what engines said
    of them. Their numbers."""
    of_service = feedback.c.service == service
    found: list[int] = []
    which = [feedback.c.source == source] if source is not None else []
    which += [feedback.c.created_at < before] if before is not None else []
    for clause in which:
        found += connection.execute(select(feedback.c.row).where(of_service & clause)).scalars()
    for start in range(0, len(rows or ()), ROWS_A_QUERY):
        some = feedback.c.row.in_((rows or ())[start : start + ROWS_A_QUERY])
        found += connection.execute(select(feedback.c.row).where(of_service & some)).scalars()
    gone, now = sorted({*found}), time.time()
    for start in range(0, len(gone), ROWS_A_QUERY):
        part = gone[start : start + ROWS_A_QUERY]
        connection.execute(delete(head_rows).where(head_rows.c.row.in_(part)))
        connection.execute(delete(feedback).where(feedback.c.row.in_(part)))
        connection.execute(insert(forgotten), [{"row": row, "service": service, "at": now} for row in part])
    if gone:
        order(connection, service, None, None)
    return gone


def forgotten_rows(connection: Connection, service: str) -> set[int]:
    return set(connection.execute(select(forgotten.c.row).where(forgotten.c.service == service)).scalars())

"""Statements on feedback rows: taken in once for each key, read in order, counted, and claimed by a job.

Functions that change anything run in a write transaction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from ulid import ULID

from perennial.errors import Conflict, NotFound
from perennial.stores import _jobs
from perennial.stores._schema import feedback, jobs, services
from perennial.types import Backlog, FeedbackRow, NewFeedback

KEYS_A_QUERY = 1000

_sent = [field.name for field in fields(NewFeedback)]
_columns = [feedback.c[field.name] for field in fields(FeedbackRow)]
_keyed = [
    feedback.c[name] for name in ("service", "key", "receipt", "text", "label", "source", "prediction_id")
]
_free = feedback.c.job.is_(None)

Body = tuple[str, ...]
"""What a sender repeats with a key. Release and trust are no part: they follow from it and from settings."""
Known = dict[tuple[str, str], tuple[str, Body]]
"""(service, key) → (receipt, body)"""


def add(connection: Connection, rows: Sequence[NewFeedback]) -> list[str]:
    _require_services(connection, {row.service for row in rows})
    known = _stored(connection, rows)
    old = {receipt for receipt, _ in known.values()}
    receipts = [_receipt(position, row, known) for position, row in enumerate(rows)]
    new = {receipt: row for receipt, row in zip(receipts, rows, strict=True) if receipt not in old}
    if new:
        now = time.time()
        connection.execute(insert(feedback), [_new_row(*item, now) for item in new.items()])
    return receipts


def after(connection: Connection, service: str, after_row: int, limit: int) -> list[FeedbackRow]:
    which = (feedback.c.service == service) & (feedback.c.row > after_row)
    query = select(*_columns).where(which).order_by(feedback.c.row).limit(limit)
    return [_row(found) for found in connection.execute(query)]


def unlearned(connection: Connection, service: str, after_row: int, limit: int) -> list[FeedbackRow]:
    """Rows that no kept release has learned, whoever holds them."""
    learned = select(jobs.c.id).where((jobs.c.service == service) & (jobs.c.state == "kept"))
    free = _free | feedback.c.job.not_in(learned)
    which = (feedback.c.service == service) & (feedback.c.row > after_row) & free
    query = select(*_columns).where(which).order_by(feedback.c.row).limit(limit)
    return [_row(found) for found in connection.execute(query)]


def numbered(connection: Connection, service: str, rows: Sequence[int]) -> list[FeedbackRow]:
    """The rows of these numbers that there are, in order."""
    found: list[FeedbackRow] = []
    for start in range(0, len(rows), KEYS_A_QUERY):
        some = feedback.c.row.in_(rows[start : start + KEYS_A_QUERY])
        query = select(*_columns).where((feedback.c.service == service) & some)
        found += [_row(row) for row in connection.execute(query)]
    return sorted(found, key=lambda row: row.row)


def newest_row(connection: Connection, service: str) -> int:
    newest = select(func.max(feedback.c.row)).where(feedback.c.service == service)
    return connection.execute(newest).scalar() or 0


def backlog(connection: Connection, service: str, max_attempts: int) -> Backlog:
    attempts, count = feedback.c.attempts, func.count()
    fresh, spent = attempts == 0, attempts >= max_attempts
    query = select(
        count.filter(fresh),
        count.filter(~fresh & ~spent),
        count.filter(~fresh & spent),
        func.min(feedback.c.created_at).filter(fresh),
    ).where(_free & (feedback.c.service == service))
    return Backlog(*connection.execute(query).one())


def claim(
    connection: Connection, job_id: str, service: str, max_rows: int, max_attempts: int
) -> list[FeedbackRow]:
    _jobs.require_open(connection, job_id)
    claims = update(jobs).where((jobs.c.id == job_id) & jobs.c.claimed_at.is_(None))
    if connection.execute(claims.values(claimed_at=time.time())).rowcount:
        free = _free & (feedback.c.service == service) & (feedback.c.attempts < max_attempts)
        oldest = select(feedback.c.row).where(free).order_by(feedback.c.row).limit(max_rows)
        connection.execute(update(feedback).where(feedback.c.row.in_(oldest)).values(job=job_id))
    held = select(*_columns).where(feedback.c.job == job_id).order_by(feedback.c.row)
    return [_row(found) for found in connection.execute(held)]


def _require_services(connection: Connection, wanted: set[str]) -> None:
    known = connection.execute(select(services.c.name).where(services.c.name.in_(wanted))).scalars()
    if unknown := sorted(wanted.difference(known)):
        raise NotFound(f"the store knows no service {unknown[0]!r}; `perennial build {unknown[0]}` makes one")


def _stored(connection: Connection, rows: Sequence[NewFeedback]) -> Known:
    """What the store holds under the keys of `rows`, for any service.

    Asked by key alone: given the service too, PostgreSQL may read all its rows instead (seen on a table that
    was not yet analysed, 130 ms for 256 keys).
    """
    keys = [row.key for row in rows if row.key is not None]
    known: Known = {}
    for start in range(0, len(keys), KEYS_A_QUERY):
        some = feedback.c.key.in_(keys[start : start + KEYS_A_QUERY])
        for found in connection.execute(select(*_keyed).where(some)):
            known[found.service, found.key] = found.receipt, _body(found)
    return known


def _receipt(position: int, row: NewFeedback, known: Known) -> str:
    """The receipt of an earlier row with this key, stored or in this call, else a new one."""
    if row.key is None:
        return str(ULID())
    receipt, body = known.setdefault((row.service, row.key), (str(ULID()), _body(row)))
    if body != _body(row):
        reason = f"KEY {row.key!r} of service {row.service!r} came before with another body; send a new key"
        raise Conflict(reason, position)
    return receipt


def _body(row: NewFeedback | Row[Any]) -> Body:
    return row.text, row.label, row.source, row.prediction_id or ""


def _new_row(receipt: str, row: NewFeedback, now: float) -> dict[str, Any]:
    sent = {name: getattr(row, name) for name in _sent}
    return {**sent, "receipt": receipt, "created_at": now, "attempts": 0}


def _row(found: Row[Any]) -> FeedbackRow:
    return FeedbackRow(**found._mapping)

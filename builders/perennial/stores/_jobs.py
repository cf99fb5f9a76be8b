"""Statements on jobs: numbered releases, one open job of a kind for each service, steps and ends.

Functions that change anything run in a write transaction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update
from ulid import ULID

from perennial.errors import Conflict, NotFound
from perennial.stores._schema import feedback, jobs
from perennial.types import Job, JobState

OPEN = ("queued", "running")
ROWS_A_QUERY = 1000


def enqueue(
    connection: Connection,
    service: str,
    kind: str,
    reason: str,
    payload: Mapping[str, Any],
    first_release: int,
) -> Job:
    same = (jobs.c.service == service) & (jobs.c.kind == kind) & jobs.c.state.in_(OPEN)
    found = connection.execute(select(jobs).where(same)).first()
    if found:
        return _job(found)
    newest = connection.execute(select(func.max(jobs.c.release)).where(jobs.c.service == service)).scalar()
    job_id = str(ULID())
    connection.execute(
        insert(jobs).values(
            id=job_id,
            service=service,
            kind=kind,
            state="queued",
            release=max(first_release, (newest or 0) + 1),
            reason=reason,
            payload=dict(payload),
            steps={},
            created_at=time.time(),
            detail="",
        )
    )
    return get(connection, job_id)


def get(connection: Connection, job_id: str) -> Job:
    found = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if found is None:
        raise NotFound(f"there is no job {job_id!r}; `perennial status` lists the jobs")
    return _job(found)


def newest(connection: Connection, service: str | None, limit: int) -> list[Job]:
    query = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
    if service is not None:
        query = query.where(jobs.c.service == service)
    return [_job(found) for found in connection.execute(query)]


def start_next(connection: Connection) -> Job | None:
    left = _oldest(connection, "running")
    if left:
        return left
    queued = _oldest(connection, "queued")
    if queued is None:
        return None
    _change(connection, jobs.c.id == queued.id, state="running", started_at=time.time())
    return get(connection, queued.id)


def record(connection: Connection, job_id: str, step: str, result: Mapping[str, Any]) -> Job:
    steps = {**require_open(connection, job_id).steps, step: dict(result)}
    _change(connection, jobs.c.id == job_id, steps=steps)
    return get(connection, job_id)


def settle(connection: Connection, job_id: str, state: JobState, detail: str) -> None:
    """A `kept` job keeps its rows, and so has learned them; any other lets them go: a `cancelled` one, which
    tried nothing, as they were, and the others one attempt older."""
    job = get(connection, job_id)
    if job.state == state:
        return  # the worker died between this commit and hearing of it
    require_open(connection, job_id)
    _change(connection, jobs.c.id == job_id, state=state, detail=detail, finished_at=time.time())
    if state != "kept":
        free_rows(connection, job_id, attempts=int(state != "cancelled"))


def mark_learned(
    connection: Connection, service: str, learned: Mapping[str, Sequence[int]], since: int
) -> None:
    """All rows are let go before any is taken: two releases may have learned the same one."""
    ended = (jobs.c.service == service) & (jobs.c.kind == "rebuild") & jobs.c.state.not_in(OPEN)
    known = jobs.c.id.in_(list(learned))
    for job in connection.execute(select(jobs).where(ended & ~known & (jobs.c.release > since))).all():
        free_rows(connection, job.id)
        if job.state == "kept":
            _change(connection, jobs.c.id == job.id, state="rolled back")
    for job in connection.execute(select(jobs).where(ended & known)).all():
        _take_rows(connection, job.id, learned[job.id])
        if job.state == "rolled back":
            _change(connection, jobs.c.id == job.id, state="kept")


def require_open(connection: Connection, job_id: str) -> Job:
    job = get(connection, job_id)
    if not job.open:
        raise Conflict(f"job {job_id} has ended as {job.state!r} and changes no more; enqueue a new one")
    return job


def free_rows(connection: Connection, job_id: str, attempts: int = 1) -> None:
    freed = update(feedback).where(feedback.c.job == job_id)
    connection.execute(freed.values(job=None, attempts=feedback.c.attempts + attempts))


def _take_rows(connection: Connection, job_id: str, rows: Sequence[int]) -> None:
    """The job holds those that nobody holds, as if it had never let them go."""
    for start in range(0, len(rows), ROWS_A_QUERY):
        free = feedback.c.row.in_(rows[start : start + ROWS_A_QUERY]) & feedback.c.job.is_(None)
        taken = update(feedback).where(free)
        connection.execute(taken.values(job=job_id, attempts=feedback.c.attempts - 1))


def _oldest(connection: Connection, state: JobState) -> Job | None:
    query = select(jobs).where(jobs.c.state == state).order_by(jobs.c.created_at, jobs.c.id).limit(1)
    found = connection.execute(query).first()
    return _job(found) if found else None


def _change(connection: Connection, which: ColumnElement[bool], **values: Any) -> None:
    connection.execute(update(jobs).where(which).values(values))


def _job(found: Row[Any]) -> Job:
    columns = dict(found._mapping)
    del columns["claimed_at"]
    return Job(**columns)

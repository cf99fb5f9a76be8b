"""The store over any SQL database: which statements share a transaction, and which a lease must allow.

The statements are in the modules of their tables; how a database is opened is its member's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select

from perennial.stores import _documents, _feedback, _heads, _inquiries, _jobs, _leases, _requests, _services
from perennial.stores._database import Database
from perennial.stores._migrate import migrate
from perennial.types import (
    Backlog,
    Document,
    FeedbackRow,
    Head,
    HeadOrders,
    HeadRow,
    Inquiry,
    Job,
    JobState,
    Lease,
    NewFeedback,
    Placed,
    ServiceRecord,
)


class SqlStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def ping(self) -> None:
        """Raise `Unavailable` unless a row could be written now."""
        with self._database.write() as connection:
            connection.execute(select(1))

    def put_service(self, record: ServiceRecord) -> None:
        with self._database.write() as connection:
            _services.put(connection, record)

    def services(self) -> dict[str, ServiceRecord]:
        with self._database.read() as connection:
            return _services.known(connection)

    def add_feedback(self, rows: Sequence[NewFeedback]) -> list[str]:
        with self._database.write() as connection:
            return _feedback.add(connection, rows)

    def feedback(self, service: str, after_row: int = 0, limit: int = 1000) -> list[FeedbackRow]:
        with self._database.read() as connection:
            return _feedback.after(connection, service, after_row, limit)

    def unlearned(self, service: str, after_row: int = 0, limit: int = 1000) -> list[FeedbackRow]:
        with self._database.read() as connection:
            return _feedback.unlearned(connection, service, after_row, limit)

    def numbered(self, service: str, rows: Sequence[int]) -> list[FeedbackRow]:
        with self._database.read() as connection:
            return _feedback.numbered(connection, service, rows)

    def forget(
        self,
        service: str,
        rows: Sequence[int] | None = None,
        source: str | None = None,
        before: float | None = None,
    ) -> list[int]:
        with self._database.write() as connection:
            return _heads.forget(connection, service, rows, source, before)

    def forgotten(self, service: str) -> set[int]:
        with self._database.read() as connection:
            return _heads.forgotten_rows(connection, service)

    def newest_row(self, service: str) -> int:
        with self._database.read() as connection:
            return _feedback.newest_row(connection, service)

    def backlog(self, service: str, max_attempts: int) -> Backlog:
        with self._database.read() as connection:
            return _feedback.backlog(connection, service, max_attempts)

    def claim(self, job: Job, lease: Lease, max_rows: int, max_attempts: int) -> list[FeedbackRow]:
        with self._fenced(lease) as connection:
            return _feedback.claim(connection, job.id, job.service, max_rows, max_attempts)

    def settle(self, job: Job, lease: Lease, state: JobState, detail: str = "") -> None:
        with self._fenced(lease) as connection:
            _jobs.settle(connection, job.id, state, detail)

    def mark_learned(self, service: str, learned: Mapping[str, Sequence[int]], since: int) -> None:
        with self._database.write() as connection:
            _jobs.mark_learned(connection, service, learned, since)

    def enqueue(
        self, service: str, kind: str, reason: str, payload: Mapping[str, Any], first_release: int = 1
    ) -> Job:
        with self._database.write() as connection:
            return _jobs.enqueue(connection, service, kind, reason, payload, first_release)

    def job(self, job_id: str) -> Job:
        with self._database.read() as connection:
            return _jobs.get(connection, job_id)

    def jobs(self, service: str | None = None, limit: int = 50) -> list[Job]:
        with self._database.read() as connection:
            return _jobs.newest(connection, service, limit)

    def next_job(self, lease: Lease) -> Job | None:
        with self._fenced(lease) as connection:
            return _jobs.start_next(connection)

    def record(self, job: Job, lease: Lease, step: str, result: Mapping[str, Any]) -> Job:
        with self._fenced(lease) as connection:
            return _jobs.record(connection, job.id, step, result)

    def add_head_rows(self, release: int, rows: Sequence[HeadRow], lease: Lease) -> None:
        with self._fenced(lease) as connection:
            _heads.add_rows(connection, release, rows)

    def head_rows(self, service: str, release: int) -> list[HeadRow]:
        with self._database.read() as connection:
            return _heads.rows(connection, service, release)

    def prequential(self, service: str, release: int, newest: int) -> list[bool]:
        with self._database.read() as connection:
            return _heads.prequential(connection, service, release, newest)

    def put_head(self, head: Head, lease: Lease) -> int:
        with self._fenced(lease) as connection:
            return _heads.put(connection, head)

    def head(self, service: str, release: int, newer_than: int = 0) -> Head | None:
        with self._database.read() as connection:
            return _heads.newer(connection, service, release, newer_than)

    def drop_heads(self, service: str, kept: Collection[int]) -> None:
        with self._database.write() as connection:
            _heads.drop(connection, service, kept)
            _documents.drop(connection, service, kept)

    def put_documents(self, service: str, changes: Mapping[str, str | None]) -> int:
        with self._database.write() as connection:
            return _documents.put(connection, service, changes)

    def newest_document(self, service: str) -> int:
        with self._database.read() as connection:
            return _documents.newest(connection, service)

    def documents(self, service: str, after: int = 0) -> list[Document]:
        with self._database.read() as connection:
            return _documents.changed(connection, service, after)

    def unplaced(self, service: str, release: int, after: int, limit: int) -> list[Document]:
        with self._database.read() as connection:
            return _documents.unplaced(connection, service, release, after, limit)

    def place(self, release: int, placed: Mapping[int, bytes], lease: Lease) -> None:
        with self._fenced(lease) as connection:
            _documents.place(connection, release, placed)

    def placed(self, service: str, release: int, newer_than: int = 0) -> list[Placed]:
        with self._database.read() as connection:
            return _documents.placed(connection, service, release, newer_than)

    def head_orders(self, service: str) -> HeadOrders:
        with self._database.read() as connection:
            return _heads.orders(connection, service)

    def order_head(
        self, service: str, since_row: int | None = None, until_row: int | None = None
    ) -> HeadOrders:
        with self._database.write() as connection:
            return _heads.order(connection, service, since_row, until_row)

    def lease(self, name: str) -> Lease | None:
        with self._database.read() as connection:
            return _leases.in_force(connection, name)

    def add_requests(self, service: str, texts: Sequence[str], most: int) -> None:
        with self._database.write() as connection:
            _requests.add(connection, service, texts, most)

    def requests(self, service: str) -> list[str]:
        with self._database.read() as connection:
            return _requests.newest(connection, service)

    def forget_requests(self, service: str) -> int:
        with self._database.write() as connection:
            return _requests.forget(connection, service)

    def inquire(self, service: str, text: str, most: int) -> int:
        with self._database.write() as connection:
            return _inquiries.add(connection, service, text, most)

    def inquiries(self) -> list[Inquiry]:
        with self._database.read() as connection:
            return _inquiries.waiting(connection)

    def tell(self, number: int, told: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            _inquiries.tell(connection, number, told)

    def told(self, number: int) -> dict[str, Any] | None:
        with self._database.read() as connection:
            return _inquiries.told(connection, number)

    def drop_inquiry(self, number: int) -> None:
        with self._database.write() as connection:
            _inquiries.drop(connection, number)

    def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        with self._database.write() as connection:
            return _leases.acquire(connection, name, holder, ttl_s)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        with self._database.write() as connection:
            return _leases.renew(connection, lease, ttl_s)

    def release(self, lease: Lease) -> None:
        with self._database.write() as connection:
            _leases.release(connection, lease)

    @contextmanager
    def _fenced(self, lease: Lease) -> Iterator[Connection]:
        """A write transaction in which `lease` holds: who takes it over waits for the commit."""
        with self._database.write() as connection:
            _leases.check(connection, lease)
            yield connection

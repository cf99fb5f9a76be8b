"""The seam of stores: what durable memory offers, to jobs and to stages. Members are structural, never
subclasses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

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

WORKER = "worker"
"""The lease of the one process that learns."""
MAX_INQUIRIES = 16
"""How many may wait to hear why at once: each costs the worker the time of some corrections."""


class Store(Protocol):
    """Durable memory. Writes that a worker makes carry its lease and raise `Fenced` once it is lost."""

    def close(self) -> None: ...
    def ping(self) -> None: ...

    def put_service(self, record: ServiceRecord) -> None: ...
    def services(self) -> dict[str, ServiceRecord]: ...

    def add_feedback(self, rows: Sequence[NewFeedback]) -> list[str]:
        """Receipts, in order, after one durable commit of all rows. `Conflict` if a key's body differs."""

    def feedback(self, service: str, after_row: int = 0, limit: int = 1000) -> list[FeedbackRow]:
        """Rows with `row > after_row`, in order."""

    def unlearned(self, service: str, after_row: int = 0, limit: int = 1000) -> list[FeedbackRow]:
        """Rows with `row > after_row` that no kept release has learned, in order."""

    def numbered(self, service: str, rows: Sequence[int]) -> list[FeedbackRow]:
        """The rows of these numbers that there are, in order."""

    def forget(
        self,
        service: str,
        rows: Sequence[int] | None = None,
        source: str | None = None,
        before: float | None = None,
    ) -> list[int]:
        """Delete rows, all of a source, and all that came `before` (epoch seconds), and what engines said of
        them; the numbers of those deleted."""

    def forgotten(self, service: str) -> set[int]:
        """The numbers of all rows of the service that were deleted."""

    def newest_row(self, service: str) -> int:
        """The number of the service's newest row; 0 where there is none."""

    def backlog(self, service: str, max_attempts: int) -> Backlog: ...
    def claim(self, job: Job, lease: Lease, max_rows: int, max_attempts: int) -> list[FeedbackRow]:
        """The unlearned rows that this job learns, oldest first; the same rows if asked again."""

    def settle(self, job: Job, lease: Lease, state: JobState, detail: str = "") -> None:
        """End the job, and in the same commit mark its rows learned (`kept`) or free them for another try;
        `cancelled` frees them as if there had been none."""

    def mark_learned(self, service: str, learned: Mapping[str, Sequence[int]], since: int) -> None:
        """What counts as learned: the rows that the jobs of the serving release and of its ancestors learned.

        Those jobs hold them, as far as no other job does, and are `kept` where they were `rolled back`. Any
        other rebuild newer than release `since` lets its rows go, and is `rolled back` where it was `kept`.
        Open jobs are left alone. Idempotent.
        """

    def enqueue(
        self, service: str, kind: str, reason: str, payload: Mapping[str, Any], first_release: int = 1
    ) -> Job:
        """The service's open job of this kind, or a new one with the next release number."""

    def job(self, job_id: str) -> Job: ...
    def jobs(self, service: str | None = None, limit: int = 50) -> list[Job]:
        """Newest first."""

    def next_job(self, lease: Lease) -> Job | None:
        """The running job that a dead worker left, else the oldest queued one; it is now running."""

    def record(self, job: Job, lease: Lease, step: str, result: Mapping[str, Any]) -> Job:
        """Write down that a step is done; the job as it now stands."""

    def add_head_rows(self, release: int, rows: Sequence[HeadRow], lease: Lease) -> None:
        """Keep what a release said of feedback rows. Idempotent; rows that are gone are left out."""

    def head_rows(self, service: str, release: int) -> list[HeadRow]: ...
    def prequential(self, service: str, release: int, newest: int) -> list[bool]:
        """Whether the release was right of the newest feedback rows before it learned them; oldest first."""

    def put_head(self, head: Head, lease: Lease) -> int:
        """Put it in force in place of the release's former one; its version, one above that one's."""

    def head(self, service: str, release: int, newer_than: int = 0) -> Head | None:
        """The release's head in force, where its version is above `newer_than`."""

    def drop_heads(self, service: str, kept: Collection[int]) -> None:
        """Let go of what is known of the heads of all releases but these, and where they place documents."""

    def put_documents(self, service: str, changes: Mapping[str, str | None]) -> int:
        """Keep documents by their names, or that they are taken out where there is no text; the number of the
        last of these changes, which count up in their order."""

    def newest_document(self, service: str) -> int:
        """The number of the newest change; 0 where there is none."""

    def documents(self, service: str, after: int = 0) -> list[Document]:
        """What changed last after that number, each name once, in order."""

    def unplaced(self, service: str, release: int, after: int, limit: int) -> list[Document]:
        """The oldest changes after that number of which the release has no place yet."""

    def place(self, release: int, placed: Mapping[int, bytes], lease: Lease) -> None:
        """Keep the vectors of changes by their numbers. Idempotent; changes that are gone are left out."""

    def placed(self, service: str, release: int, newer_than: int = 0) -> list[Placed]: ...

    def head_orders(self, service: str) -> HeadOrders: ...
    def order_head(
        self, service: str, since_row: int | None = None, until_row: int | None = None
    ) -> HeadOrders:
        """Change what is not None; the orders as they now are, of a new generation."""

    def add_requests(self, service: str, texts: Sequence[str], most: int) -> None:
        """Keep texts that were asked, and of all that are kept the newest `most`."""

    def requests(self, service: str) -> list[str]:
        """The texts that are kept, newest first."""

    def forget_requests(self, service: str) -> int:
        """Delete them all; how many there were."""

    def inquire(self, service: str, text: str, most: int) -> int:
        """Ask the worker why a text is answered as it is; the inquiry's number. `Unavailable` where too many
        wait. It is gone after a minute."""

    def inquiries(self) -> list[Inquiry]:
        """Those that were told nothing yet, oldest first."""

    def tell(self, number: int, told: Mapping[str, Any]) -> None:
        """Answer an inquiry; nothing happens where it is gone."""

    def told(self, number: int) -> dict[str, Any] | None:
        """What an inquiry was told, if it was."""

    def drop_inquiry(self, number: int) -> None: ...

    def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """The lease, with a larger token than any before, or None while another holds it."""

    def lease(self, name: str) -> Lease | None:
        """The lease in force, or None where nobody holds it."""

    def renew(self, lease: Lease, ttl_s: float) -> Lease: ...
    def release(self, lease: Lease) -> None: ...

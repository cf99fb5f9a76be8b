"""The tables, the same in SQLite and PostgreSQL. Knows no statement that fills or reads them.

A row of feedback points at the job that holds it: a job that ended as `kept` has learned its rows, one that
ended otherwise has let them go. So what is learned stands in one place, the state of the job.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import JSON

REVISION = "0006"
"""The newest migration, which makes what this module describes."""

_Json = JSON(none_as_null=True)
_RowNumber = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only
_Ulid = String(26)

metadata = MetaData()

services = Table(
    "services",
    metadata,
    Column("name", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("labels", _Json, nullable=False),
    Column("max_text_bytes", Integer, nullable=False),
    Column("require_prediction_id", Boolean, nullable=False),
    Column("unproven_trust", Double, nullable=False),
    Column("feedback_within_s", Double, nullable=False, server_default=text("0")),
    Column("trigger_count", Integer, nullable=False),
    Column("trigger_age_s", Double, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _Ulid, primary_key=True),
    Column("service", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("release", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", _Json, nullable=False),
    Column("steps", _Json, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("claimed_at", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("detail", Text, nullable=False),
    UniqueConstraint("service", "release", name="jobs_release"),
)

_open = text("state IN ('queued', 'running')")
Index("jobs_open", jobs.c.service, jobs.c.kind, unique=True, sqlite_where=_open, postgresql_where=_open)

feedback = Table(
    "feedback",
    metadata,
    Column("row", _RowNumber, Identity(always=True), primary_key=True),
    Column("receipt", _Ulid, nullable=False, unique=True),
    Column("service", Text, ForeignKey("services.name"), nullable=False),
    Column("text", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text),
    Column("prediction_id", Text),
    Column("release", Integer),
    Column("trust", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("job", _Ulid, ForeignKey("jobs.id")),
    sqlite_autoincrement=True,
)

_keyed, _held, _free = text("key IS NOT NULL"), text("job IS NOT NULL"), text("job IS NULL")
Index(
    "feedback_key",
    feedback.c.key,
    feedback.c.service,
    unique=True,
    sqlite_where=_keyed,
    postgresql_where=_keyed,
)
Index("feedback_service", feedback.c.service, feedback.c.row)
Index("feedback_job", feedback.c.job, sqlite_where=_held, postgresql_where=_held)
Index(  # covers what a backlog counts and a claim looks for
    "feedback_free",
    feedback.c.service,
    feedback.c.row,
    feedback.c.attempts,
    feedback.c.created_at,
    sqlite_where=_free,
    postgresql_where=_free,
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)

head_rows = Table(
    "head_rows",
    metadata,
    Column("row", _RowNumber, ForeignKey("feedback.row", ondelete="CASCADE"), primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("features", LargeBinary, nullable=False),
    Column("residuals", LargeBinary, nullable=False),
    Column("was_right", Boolean),
)

heads = Table(
    "heads",
    metadata,
    Column("service", Text, primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("figures", _Json, nullable=False),
    Column("created_at", Double, nullable=False),
)

head_orders = Table(
    "head_orders",
    metadata,
    Column("service", Text, primary_key=True),
    Column("since_row", BigInteger, nullable=False),
    Column("until_row", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
)

forgotten = Table(  # that there was such a row, and nothing of what it said
    "forgotten",
    metadata,
    Column("row", BigInteger, primary_key=True, autoincrement=False),
    Column("service", Text, nullable=False),
    Column("at", Double, nullable=False),
)

requests = Table(  # a sample of the texts that were asked, where a service's owner wants one
    "requests",
    metadata,
    Column("number", _RowNumber, Identity(always=True), primary_key=True),
    Column("service", Text, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_autoincrement=True,
)

Index("requests_service", requests.c.service, requests.c.number)

inquiries = Table(  # who waits to hear why an answer is as it is; gone once it is told, or a minute later
    "inquiries",
    metadata,
    Column("number", _RowNumber, Identity(always=True), primary_key=True),
    Column("service", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("most", Integer, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("told", _Json),
    sqlite_autoincrement=True,
)

documents = Table(  # the newest word on each: what it says, or that it is taken out
    "documents",
    metadata,
    Column("number", _RowNumber, Identity(always=True), primary_key=True),
    Column("service", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("text", Text),
    sqlite_autoincrement=True,
)

Index("documents_name", documents.c.service, documents.c.name, unique=True)
Index("documents_service", documents.c.service, documents.c.number)

document_vectors = Table(
    "document_vectors",
    metadata,
    Column("version", _RowNumber, Identity(always=True), primary_key=True),
    Column("number", _RowNumber, ForeignKey("documents.number", ondelete="CASCADE"), nullable=False),
    Column("release", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    UniqueConstraint("number", "release", name="document_vectors_place"),
    sqlite_autoincrement=True,
)

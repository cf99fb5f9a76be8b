"""Services, jobs, feedback and leases.

A migration tells what the schema was at its time: it is never changed, and does not import `_schema`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ulid = sa.String(26)
_row_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _services()
    _jobs()
    _feedback()
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )


def _services() -> None:
    op.create_table(
        "services",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("max_text_bytes", sa.Integer, nullable=False),
        sa.Column("require_prediction_id", sa.Boolean, nullable=False),
        sa.Column("unproven_trust", sa.Double, nullable=False),
        sa.Column("trigger_count", sa.Integer, nullable=False),
        sa.Column("trigger_age_s", sa.Double, nullable=False),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _ulid, primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("steps", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("claimed_at", sa.Double),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("detail", sa.Text, nullable=False),
        sa.UniqueConstraint("service", "release", name="jobs_release"),
    )
    _index("jobs_open", "jobs", ["service", "kind"], "state IN ('queued', 'running')", unique=True)


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("row", _row_number, sa.Identity(always=True), primary_key=True),
        sa.Column("receipt", _ulid, nullable=False, unique=True),
        sa.Column("service", sa.Text, sa.ForeignKey("services.name"), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("prediction_id", sa.Text),
        sa.Column("release", sa.Integer),
        sa.Column("trust", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("job", _ulid, sa.ForeignKey("jobs.id")),
        sqlite_autoincrement=True,
    )
    _index("feedback_key", "feedback", ["key", "service"], "key IS NOT NULL", unique=True)
    _index("feedback_service", "feedback", ["service", "row"])
    _index("feedback_job", "feedback", ["job"], "job IS NOT NULL")
    _index("feedback_free", "feedback", ["service", "row", "attempts", "created_at"], "job IS NULL")


def _index(name: str, table: str, columns: list[str], where: str = "", unique: bool = False) -> None:
    partial = sa.text(where) if where else None
    op.create_index(name, table, columns, unique=unique, sqlite_where=partial, postgresql_where=partial)

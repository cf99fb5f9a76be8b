"""Inquiries: a question that a stage leaves for the worker, and what it is told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import JSON

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "inquiries",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            sa.Identity(always=True),
            primary_key=True,
        ),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("most", sa.Integer, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("told", JSON(none_as_null=True)),
        sqlite_autoincrement=True,
    )

"""Heads: what an engine said of feedback, the weights that follow, and what a person decided of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_row_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "head_rows",
        sa.Column("row", _row_number, sa.ForeignKey("feedback.row", ondelete="CASCADE"), primary_key=True),
        sa.Column("release", sa.Integer, primary_key=True),
        sa.Column("features", sa.LargeBinary, nullable=False),
        sa.Column("residuals", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "heads",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("release", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("weights", sa.LargeBinary, nullable=False),
        sa.Column("figures", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "head_orders",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("since_row", sa.BigInteger, nullable=False),
        sa.Column("until_row", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
    )
    op.create_table(
        "forgotten",
        sa.Column("row", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )

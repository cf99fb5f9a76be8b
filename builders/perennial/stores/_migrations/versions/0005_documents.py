"""Documents that services find, and where the engines of their releases place them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "documents",
        sa.Column("number", number, sa.Identity(always=True), primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("documents_name", "documents", ["service", "name"], unique=True)
    op.create_index("documents_service", "documents", ["service", "number"])
    op.create_table(
        "document_vectors",
        sa.Column("version", number, sa.Identity(always=True), primary_key=True),
        sa.Column("number", number, sa.ForeignKey("documents.number", ondelete="CASCADE"), nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("number", "release", name="document_vectors_place"),
        sqlite_autoincrement=True,
    )

"""How old an answer may be that feedback is taken of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "services", sa.Column("feedback_within_s", sa.Double, nullable=False, server_default=sa.text("0"))
    )

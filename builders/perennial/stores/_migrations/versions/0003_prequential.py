"""Whether a release was right of feedback before it learned it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("head_rows", sa.Column("was_right", sa.Boolean))

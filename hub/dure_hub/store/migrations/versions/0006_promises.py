"""What was promised to a ticket: its start at the latest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("tickets", sa.Column("promised_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("tickets", "promised_at")

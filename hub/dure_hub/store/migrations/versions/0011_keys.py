"""Keys of machines, and what the login provider last said of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; no token of before is a key."""
    op.add_column("tokens", sa.Column("name", sa.String(255), nullable=True))
    op.add_column("tokens", sa.Column("used_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "logins",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("subject", sa.String(255), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why", sa.String(255), nullable=True),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("logins")
    op.drop_column("tokens", "used_at")
    op.drop_column("tokens", "name")

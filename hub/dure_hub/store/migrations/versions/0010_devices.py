"""Devices that are kept from being granted, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Three tables of their own; nothing that is there changes."""
    op.create_table(
        "devices",
        sa.Column("uuid", sa.String(255), primary_key=True),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("cleared_at", TIME),
    )
    op.create_table(
        "closures",
        sa.Column("device", sa.String(255), primary_key=True),
        sa.Column("kind", sa.String(255), primary_key=True),
        sa.Column("code", sa.String(255), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME),
        sa.Column("message", sa.Text),
        sa.Column("by", sa.String(255), nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("lease_id", sa.String(255), nullable=False, index=True),
        sa.Column("device", sa.String(255), nullable=False, index=True),
        sa.Column("code", sa.String(255), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME),
    )


def downgrade() -> None:
    """What was closed is granted again, and what was not charged is charged."""
    for table in ("pauses", "closures", "devices"):
        op.drop_table(table)

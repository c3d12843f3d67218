"""Teams with members, leads and projects, and what is yet to be carried out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "teams",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("leaving", sa.Boolean(), nullable=False),
        sa.Column("set_by", sa.String(255), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
    )
    for table in ("team_members", "team_leads", "team_projects"):
        leaving: list[sa.Column[bool]] = (
            [sa.Column("leaving", sa.Boolean(), nullable=False)] if table == "team_members" else []
        )
        op.create_table(
            table,
            sa.Column("team", sa.String(255), primary_key=True),
            sa.Column("name", sa.String(255), primary_key=True),
            *leaving,
        )
    op.create_index("ix_team_members_name", "team_members", ["name"])
    op.create_index("ix_team_leads_name", "team_leads", ["name"])
    op.create_table(
        "errands",
        sa.Column("kind", sa.String(255), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(255), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("errands", "team_projects", "team_leads", "team_members", "teams"):
        op.drop_table(table)

"""Schedules with their executions, and when an environment was last in use."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    for name in ("activity", "active_at"):
        op.add_column("environments", _time(name, nullable=True))
    _schedules()
    _executions()


def _text(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(255), **{"nullable": False, **more})


def _time(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **{"nullable": False, **more})


def _schedules() -> None:
    op.create_table(
        "schedules",
        _text("id", primary_key=True),
        _text("owner", index=True),
        _text("name"),
        _text("snapshot"),
        _text("notebook"),
        _text("cron"),
        _text("timezone"),
        sa.Column("parameters", sa.JSON(), nullable=False),
        _text("profile"),
        sa.Column("limit_s", sa.Integer(), nullable=False),
        _time("next_at", nullable=True, index=True),
        _time("created_at"),
        _time("deleted_at", nullable=True),
    )


def _executions() -> None:
    op.create_table(
        "executions",
        _text("id", primary_key=True),
        sa.Column("schedule_id", sa.String(255), sa.ForeignKey("schedules.id"), nullable=False, index=True),
        _text("owner", index=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        _text("state", index=True),
        _text("wanted"),
        _text("reason", nullable=True),
        sa.Column("failure", sa.JSON(), nullable=False),
        _time("due_at", nullable=True),
        _text("ticket_id", nullable=True),
        _text("lease_id", nullable=True, index=True),
        _time("created_at"),
        _time("started_at", nullable=True),
        _time("ended_at", nullable=True),
        sa.UniqueConstraint("schedule_id", "number"),
        sa.UniqueConstraint("schedule_id", "due_at"),
    )

"""Quotas, budgets, counters and measured use; classes of the queue; leases on the slices of another."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    for table in ("tickets", "leases"):
        op.add_column(table, _number("queue_class", server_default="2"))
        # the default was for the rows there are; from now on each says its class itself
        with op.batch_alter_table(table) as batch:
            batch.alter_column("queue_class", server_default=None)
    op.add_column("leases", _text("parent", nullable=True))
    op.create_index("ix_leases_parent", "leases", ["parent"])
    op.create_index("ix_leases_granted_at", "leases", ["granted_at"])
    _limits()
    _use()


def _text(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(255), **{"nullable": False, **more})


def _number(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), **{"nullable": False, **more})


def _large(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **{"nullable": False, **more})


def _limits() -> None:
    op.create_table(
        "quotas",
        _text("kind", primary_key=True),
        _text("name", primary_key=True),
        _number("gpus", nullable=True),
        _number("gpu_hours_month", nullable=True),
        _number("api_calls_day", nullable=True),
        _number("upload_mb_month", nullable=True),
        _text("set_by"),
        _time("set_at"),
    )
    op.create_table(
        "budgets",
        _text("kind", primary_key=True),
        _text("name", primary_key=True),
        _large("amount"),
        _number("alerted_percent", nullable=True),
        _text("alerted_month", nullable=True),
        _text("set_by"),
        _time("set_at"),
    )


def _use() -> None:
    op.create_table(
        "counters",
        _text("kind", primary_key=True),
        _text("subject", primary_key=True),
        _text("what", primary_key=True),
        _text("period", primary_key=True),
        _large("value"),
    )
    op.create_table(
        "usage",
        _text("lease_id", primary_key=True),
        _time("hour", primary_key=True, index=True),
        _large("seen_us"),
        _large("known_us"),
        _large("busy_us"),
        _number("memory_max_mb", nullable=True),
        _large("memory_sum_mb"),
        _number("memory_samples"),
        _number("samples"),
    )

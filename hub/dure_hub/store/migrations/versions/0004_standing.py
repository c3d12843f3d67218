"""Where a request stands in the queue: what it counts of GPUs, who pays, what its team has had lately."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    _add("tickets", sa.Column("reclaims", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("tickets", sa.Column("since", sa.DateTime(timezone=True)))
    _add("leases", sa.Column("gpus", sa.Integer(), nullable=False, server_default="0"))
    _add("endpoints", sa.Column("queue_class", sa.Integer(), nullable=False, server_default="1"))
    for table in ("endpoints", "schedules"):
        op.add_column(table, sa.Column("team", sa.String(255)))
        op.add_column(table, sa.Column("project", sa.String(255)))
    op.create_table(
        "shares",
        sa.Column("kind", sa.String(255), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("gpu_seconds", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    _count_gpus()
    with op.batch_alter_table("leases") as batch:  # an hour in a small unit of money is more than 32 bits
        batch.alter_column("rate", type_=sa.BigInteger(), existing_type=sa.Integer(), existing_nullable=True)


def _add(table: str, column: sa.Column[Any]) -> None:
    op.add_column(table, column)
    # the default was for the rows there are; from now on each says it itself
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column.name, server_default=None)


def _count_gpus() -> None:
    """Leases of before held whole GPUs or none."""
    leases = sa.table("leases", sa.column("id"), sa.column("slices", sa.JSON()), sa.column("gpus"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(leases.c.id, leases.c.slices)).all():
        whole = sum(1 for piece in row.slices or () if piece.get("device") != "cpu")
        if whole:
            change = leases.update().where(leases.c.id == row.id).values(gpus=1000 * whole)
            connection.execute(change)

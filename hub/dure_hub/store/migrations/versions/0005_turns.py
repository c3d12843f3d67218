"""What a server was asked for with, how its turn is held, and what is said once it has ended."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What has ended before is told to nobody again."""
    for column in (
        sa.Column("image", sa.String(255)),
        sa.Column("project", sa.String(255)),
        sa.Column("held_until", sa.DateTime(timezone=True)),
        sa.Column("receipt", sa.JSON()),
        sa.Column("checks", sa.JSON()),
        sa.Column("log_end", sa.Text()),
        sa.Column("dismissed_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("environments", column)
    environments = sa.table(
        "environments", sa.column("phase"), sa.column("dismissed_at", sa.DateTime(timezone=True))
    )
    ended = environments.c.phase.in_(("stopped", "failed"))
    op.get_bind().execute(environments.update().where(ended).values(dismissed_at=datetime.now(UTC)))

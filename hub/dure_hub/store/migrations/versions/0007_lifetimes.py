"""How long a server of a user or team may run at most."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("quotas", sa.Column("max_lifetime_s", sa.Integer()))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("quotas", "max_lifetime_s")

"""How exactly the end of a lease is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what has ended so far ended when its end was seen."""
    op.add_column("leases", sa.Column("uncertain_s", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("leases", "uncertain_s")

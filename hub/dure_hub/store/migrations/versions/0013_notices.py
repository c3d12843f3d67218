"""What people are told, where it is sent, and when an administrator's stop ends a server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME, _TEXT = sa.DateTime(timezone=True), sa.String(255)


def upgrade() -> None:
    """Make the tables. Nobody is told of what happened before."""
    _notices()
    _channels()
    op.create_table(
        "notice_wishes",
        sa.Column("person", _TEXT, primary_key=True),
        sa.Column("language", _TEXT),
        sa.Column("timezone", _TEXT),
        sa.Column("mail", sa.Boolean(), nullable=False),
        sa.Column("off", sa.JSON(), nullable=False),
    )
    op.add_column("events", sa.Column("untold", sa.Boolean(), nullable=False, server_default=sa.false()))
    untold = sa.text("untold")
    op.create_index("ix_events_untold", "events", ["id"], sqlite_where=untold, postgresql_where=untold)
    op.add_column("environments", sa.Column("stop_at", _TIME))
    op.add_column("environments", sa.Column("stop_reason", _TEXT))


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("person", _TEXT, nullable=False, index=True),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("code", _TEXT, nullable=False),
        sa.Column("thing", _TEXT, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("made_at", _TIME, nullable=False, index=True),
        sa.Column("useful_until", _TIME),
        sa.Column("seen_at", _TIME),
        sa.UniqueConstraint("person", "key"),
    )
    op.create_index("ix_notices_unseen", "notices", ["person", "seen_at"])


def _channels() -> None:
    op.create_table(
        "notice_channels",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("person", _TEXT, nullable=False, index=True),
        sa.Column("scheme", _TEXT, nullable=False),
        sa.Column("host", _TEXT),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("notice_id", _TEXT, sa.ForeignKey("notices.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("channel", _TEXT, index=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", _TIME, index=True),
        sa.Column("sent_at", _TIME),
        sa.Column("error", _TEXT),
        sa.Column("error_at", _TIME),
    )


def downgrade() -> None:
    """Take all of it away."""
    op.drop_column("environments", "stop_reason")
    op.drop_column("environments", "stop_at")
    op.drop_index("ix_events_untold", "events")
    op.drop_column("events", "untold")
    for table in ("notice_wishes", "deliveries", "notice_channels", "notices"):
        op.drop_table(table)

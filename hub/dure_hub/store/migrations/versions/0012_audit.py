"""Events are numbered in the order of their commits, and the database itself refuses to change or remove one.

A later migration that makes the table anew (SQLite's way of changing a column) loses the triggers with the old
one and must make them again; the tests of the newest revision would see it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RULE = "events are append-only"
TOLD = "id, seq, actor, on_behalf_of, verb, object, verdict, at"
"""What an event says. A mark of what has become of it since may lie beside that, and change."""
_SQLITE = {
    "events_no_update": f"BEFORE UPDATE OF {TOLD} ON events",
    "events_no_delete": "BEFORE DELETE ON events",
    # INSERT OR REPLACE removes what it replaces without asking a DELETE trigger.
    "events_no_replace": (
        "BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE id = NEW.id OR seq = NEW.seq)"
    ),
}


def upgrade() -> None:
    """Number what is there by its ids, which are in the order of time; then close the table."""
    op.add_column("events", sa.Column("seq", sa.BigInteger(), nullable=True))
    op.execute(
        "WITH numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS number FROM events) "
        "UPDATE events SET seq = numbered.number FROM numbered WHERE numbered.id = events.id"
    )
    with op.batch_alter_table("events") as table:
        table.alter_column("seq", existing_type=sa.BigInteger(), nullable=False)
        table.create_index("ix_events_seq", ["seq"], unique=True)
    forbid_changes()


def downgrade() -> None:
    """Open the table again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER events_append_only ON events")
        op.execute("DROP FUNCTION dure_events_append_only()")
    else:
        for name in _SQLITE:
            op.execute(f"DROP TRIGGER {name}")
    with op.batch_alter_table("events") as table:
        table.drop_index("ix_events_seq")
        table.drop_column("seq")


def forbid_changes() -> None:
    """The triggers, in the words of each database."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION dure_events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{RULE}'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER events_append_only BEFORE UPDATE OF {TOLD} OR DELETE OR TRUNCATE ON events "
            "FOR EACH STATEMENT EXECUTE FUNCTION dure_events_append_only()"
        )
        return
    for name, when in _SQLITE.items():
        op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{RULE}'); END")

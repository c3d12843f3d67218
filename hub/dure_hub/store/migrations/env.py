"""What Alembic runs for each command; the connection comes from `migrate` and is already in a transaction."""

from __future__ import annotations

from alembic import context

from dure_hub.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()

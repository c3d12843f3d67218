"""The first rows: tickets, leases, environments, jobs, endpoints, tokens, events, leadership."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    _queue()
    _training()
    _serving()
    _record()


def _text(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(255), **{"nullable": False, **more})


def _number(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), **{"nullable": False, **more})


def _time(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **{"nullable": False, **more})


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _queue() -> None:
    op.create_table(
        "tickets",
        _text("id", primary_key=True),
        _text("owner"),
        _text("team", nullable=True),
        _text("project", nullable=True),
        _text("purpose"),
        _text("subject"),
        _text("profile"),
        _number("lifetime_s", nullable=True),
        _number("priority"),
        _text("state"),
        _json("verdict"),
        _text("lease_id", nullable=True),
        _time("asked_at"),
        _time("decided_at", nullable=True),
    )
    op.create_index("ix_tickets_owner", "tickets", ["owner"])
    op.create_index("ix_tickets_state", "tickets", ["state"])
    op.create_table(
        "leases",
        _text("id", primary_key=True),
        _text("owner"),
        _text("team", nullable=True),
        _text("project", nullable=True),
        _text("purpose"),
        _text("subject"),
        _text("profile"),
        _json("slices"),
        _number("rate", nullable=True),
        _time("granted_at"),
        _time("until", nullable=True),
        _number("renewals"),
        _time("claimed_at", nullable=True),
        _time("ended_at", nullable=True),
        _text("end_reason", nullable=True),
        _json("handle"),
    )
    op.create_index("ix_leases_active", "leases", ["ended_at"])
    op.create_index("ix_leases_owner", "leases", ["owner"])
    op.create_table(
        "environments",
        _text("id", primary_key=True),
        _text("owner"),
        _text("name"),
        _text("profile"),
        _text("phase"),
        _text("reason", nullable=True),
        _text("ticket_id", nullable=True),
        _text("lease_id", nullable=True),
        _time("asked_at"),
        sa.UniqueConstraint("owner", "name"),
    )
    op.create_index("ix_environments_owner", "environments", ["owner"])


def _training() -> None:
    op.create_table(
        "jobs",
        _text("id", primary_key=True),
        _text("owner"),
        _text("name"),
        _text("profile"),
        _text("state"),
        _text("wanted"),
        _text("reason", nullable=True),
        _text("snapshot"),
        _text("entry"),
        _json("parameters"),
        _number("processes", nullable=True),
        _text("experiment"),
        _text("git_commit", nullable=True),
        _text("device", nullable=True),
        _text("run_id", nullable=True),
        _text("ticket_id", nullable=True),
        _time("created_at"),
        _time("ended_at", nullable=True),
        sa.UniqueConstraint("owner", "name"),
    )
    op.create_index("ix_jobs_ended_at", "jobs", ["ended_at"])
    op.create_index("ix_jobs_owner", "jobs", ["owner"])
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_table(
        "attempts",
        _text("id", primary_key=True),
        _text("job_id"),
        _number("number"),
        _text("lease_id"),
        _text("state"),
        _number("exit_code", nullable=True),
        _text("reason", nullable=True),
        _time("started_at", nullable=True),
        _time("ended_at", nullable=True),
        sa.UniqueConstraint("job_id", "number"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
    )
    op.create_index("ix_attempts_job_id", "attempts", ["job_id"])
    op.create_index("ix_attempts_lease_id", "attempts", ["lease_id"])


def _serving() -> None:
    op.create_table(
        "endpoints",
        _text("id", primary_key=True),
        _text("name"),
        _text("owner"),
        _text("model"),
        _text("profile"),
        _text("wanted"),
        _text("state"),
        _text("reason", nullable=True),
        _time("created_at"),
        _time("ended_at", nullable=True),
    )
    op.create_index("ix_endpoints_name", "endpoints", ["name"])
    op.create_index("ix_endpoints_owner", "endpoints", ["owner"])
    op.create_table(
        "replicas",
        _text("id", primary_key=True),
        _text("endpoint_id"),
        _number("version"),
        _text("role"),
        _number("percent"),
        _text("phase"),
        _text("reason", nullable=True),
        _number("restarts"),
        _text("ticket_id", nullable=True),
        _text("lease_id", nullable=True),
        _time("created_at"),
        _time("retired_at", nullable=True),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"]),
    )
    op.create_index("ix_replicas_endpoint_id", "replicas", ["endpoint_id"])
    op.create_index("ix_replicas_phase", "replicas", ["phase"])
    op.create_table(
        "rollouts",
        _text("id", primary_key=True),
        _text("endpoint_id"),
        _number("from_version"),
        _number("to_version"),
        _number("percent"),
        _text("state"),
        _text("started_by"),
        _time("started_at"),
        _time("ended_at", nullable=True),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"]),
    )
    op.create_index("ix_rollouts_endpoint_id", "rollouts", ["endpoint_id"])


def _record() -> None:
    op.create_table(
        "tokens",
        _text("id", primary_key=True),
        _text("digest", unique=True),
        _text("owner"),
        sa.Column("admin", sa.Boolean(), nullable=False),
        _json("scopes"),
        _text("purpose"),
        _text("lease_id", nullable=True),
        _time("made_at"),
        _time("expires_at"),
        _time("revoked_at", nullable=True),
    )
    op.create_index("ix_tokens_lease_id", "tokens", ["lease_id"])
    op.create_index("ix_tokens_owner", "tokens", ["owner"])
    op.create_table(
        "events",
        _text("id", primary_key=True),
        _text("actor"),
        _text("on_behalf_of", nullable=True),
        _text("verb"),
        _text("object"),
        _json("verdict"),
        _time("at"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_object", "events", ["object"])
    op.create_table(
        "leaderships",
        _text("task", primary_key=True),
        _text("holder"),
        _time("until"),
    )

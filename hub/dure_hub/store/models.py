"""The durable rows of all the words: tickets, leases, environments, jobs, endpoints, events, tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, String, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JsonDict = dict[str, Any]


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC times in and out; SQLite keeps no zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone: it would be a guess."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a stored time needs a zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Times in the store are UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All rows of our own database."""

    type_annotation_map = {datetime: UtcTime, JsonDict: JSON, list[JsonDict]: JSON, str: String(255)}


class Ticket(Base):
    """A request that waits, or waited. `state`: waiting, granted, cancelled, refused, expired."""

    __tablename__ = "tickets"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    team: Mapped[str | None]
    project: Mapped[str | None]
    purpose: Mapped[str]
    subject: Mapped[str]
    """What it is for: the environment's, job's or replica's id."""
    profile: Mapped[str]
    lifetime_s: Mapped[int | None]
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default="waiting", index=True)
    verdict: Mapped[JsonDict] = mapped_column(default=dict)
    lease_id: Mapped[str | None]
    asked_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]


class Lease(Base):
    """A granted set of slices, active until `ended_at` is set. `claimed_at` is set once, by its owner."""

    __tablename__ = "leases"
    __table_args__ = (Index("ix_leases_active", "ended_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    team: Mapped[str | None]
    project: Mapped[str | None]
    purpose: Mapped[str]
    subject: Mapped[str]
    profile: Mapped[str]
    slices: Mapped[list[JsonDict]] = mapped_column(default=list)
    rate: Mapped[int | None]
    granted_at: Mapped[datetime]
    until: Mapped[datetime | None]
    renewals: Mapped[int] = mapped_column(default=0)
    claimed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    handle: Mapped[JsonDict] = mapped_column(default=dict)
    """What the backend needs to stop it: `where` of its handle, written before and while it starts."""


class Environment(Base):
    """A person's server by name. `phase`: waiting, starting, running, stopping, stopped, failed."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    profile: Mapped[str]
    phase: Mapped[str]
    reason: Mapped[str | None]
    ticket_id: Mapped[str | None]
    lease_id: Mapped[str | None]
    asked_at: Mapped[datetime]
    activity: Mapped[datetime | None]
    """The last activity that the hub has told of, by the hub's own clock: only whether it changes matters."""
    active_at: Mapped[datetime | None]
    """When it was last seen in use, by the portal's clock."""


class Job(Base):
    """One training. `state`: queued, starting, running, succeeded, failed, stopped. `wanted`: run or stop."""

    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    profile: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    wanted: Mapped[str] = mapped_column(default="run")
    reason: Mapped[str | None]
    snapshot: Mapped[str]
    entry: Mapped[str]
    parameters: Mapped[JsonDict] = mapped_column(default=dict)
    processes: Mapped[int | None]
    experiment: Mapped[str]
    git_commit: Mapped[str | None]
    device: Mapped[str | None]
    run_id: Mapped[str | None]
    ticket_id: Mapped[str | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)


class Attempt(Base):
    """One try at a job, on one lease. `state`: starting, running, succeeded, failed, stopped, lost."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    number: Mapped[int]
    lease_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    exit_code: Mapped[int | None]
    reason: Mapped[str | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Endpoint(Base):
    """A served name. `wanted`: serve or stop."""

    __tablename__ = "endpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    owner: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    profile: Mapped[str]
    wanted: Mapped[str] = mapped_column(default="serve")
    state: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Replica(Base):
    """One model server of an endpoint. `role`: champion, canary, retired. `phase`: waiting … ready … gone."""

    __tablename__ = "replicas"

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    version: Mapped[int]
    role: Mapped[str]
    percent: Mapped[int]
    phase: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str | None]
    restarts: Mapped[int] = mapped_column(default=0)
    ticket_id: Mapped[str | None]
    lease_id: Mapped[str | None]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Rollout(Base):
    """One champion-to-canary story. `state`: running, promoted, rolled_back."""

    __tablename__ = "rollouts"

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    from_version: Mapped[int]
    to_version: Mapped[int]
    percent: Mapped[int]
    state: Mapped[str]
    started_by: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Schedule(Base):
    """A notebook with a time condition. `next_at` is when it is due; null while paused."""

    __tablename__ = "schedules"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    snapshot: Mapped[str]
    notebook: Mapped[str]
    cron: Mapped[str]
    timezone: Mapped[str]
    parameters: Mapped[JsonDict] = mapped_column(default=dict)
    profile: Mapped[str]
    limit_s: Mapped[int]
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """Its name is free from then on; its executions stay."""


class Execution(Base):
    """One run of a schedule. `state`: queued, starting, running, succeeded, failed, stopped, skipped."""

    __tablename__ = "executions"
    __table_args__ = (UniqueConstraint("schedule_id", "number"), UniqueConstraint("schedule_id", "due_at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    schedule_id: Mapped[str] = mapped_column(ForeignKey("schedules.id"), index=True)
    owner: Mapped[str] = mapped_column(index=True)
    number: Mapped[int]
    parameters: Mapped[JsonDict] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(index=True)
    wanted: Mapped[str] = mapped_column(default="run")
    reason: Mapped[str | None]
    failure: Mapped[JsonDict] = mapped_column(default=dict)
    due_at: Mapped[datetime | None]
    """The minute it was due at, so that it is made once; null where somebody asked for it."""
    ticket_id: Mapped[str | None]
    lease_id: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Token(Base):
    """A token the portal minted. Only its SHA-256 is kept; `scopes` are the hub's own words."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str] = mapped_column(index=True)
    admin: Mapped[bool] = mapped_column(default=False)
    scopes: Mapped[JsonDict] = mapped_column(default=dict)
    purpose: Mapped[str]
    lease_id: Mapped[str | None] = mapped_column(index=True)
    made_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Event(Base):
    """One change, written in the transaction of the change."""

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(primary_key=True)
    actor: Mapped[str]
    on_behalf_of: Mapped[str | None]
    verb: Mapped[str]
    object: Mapped[str] = mapped_column(index=True)
    verdict: Mapped[JsonDict] = mapped_column(default=dict)
    at: Mapped[datetime] = mapped_column(index=True)


class Leadership(Base):
    """Who reconciles. One row a task; a holder that stops renewing loses it."""

    __tablename__ = "leaderships"

    task: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]

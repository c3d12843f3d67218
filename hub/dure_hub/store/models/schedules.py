"""Schedules and executions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


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
    team: Mapped[str | None]
    project: Mapped[str | None]
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

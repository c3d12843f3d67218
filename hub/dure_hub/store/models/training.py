"""Jobs and their attempts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


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

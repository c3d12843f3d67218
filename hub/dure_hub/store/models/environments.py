"""Environments, and what is shared with colleagues."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


class Environment(Base):
    """A person's server by name. `phase`: waiting, held, starting, running, stopping, stopped, failed."""

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
    image: Mapped[str | None]
    project: Mapped[str | None]
    held_until: Mapped[datetime | None]
    """Until when a granted place is held for its owner (`held`); afterwards, when it was taken up."""
    receipt: Mapped[JsonDict | None] = mapped_column(JSON(none_as_null=True))
    """What its end saved: `saved` and `failed` (names), `hook` (or null), `pages` (a number)."""
    checks: Mapped[JsonDict | None] = mapped_column(JSON(none_as_null=True))
    """What was looked at to tell whether it is idle."""
    log_end: Mapped[str | None] = mapped_column(Text)
    """The last of its log, where it did not start; for its owner alone."""
    stop_at: Mapped[datetime | None]
    """When an administrator's stop ends it; its end is no later, and its owner cannot move it."""
    stop_reason: Mapped[str | None]
    """What its owner reads of that stop, as `reason`."""
    dismissed_at: Mapped[datetime | None]
    """When its owner put away what was said of its end."""


class Share(Base):
    """How much a user or team (`kind`) has had lately: decayed GPU-seconds of ended leases, as of `at`."""

    __tablename__ = "shares"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    gpu_seconds: Mapped[float]
    at: Mapped[datetime]

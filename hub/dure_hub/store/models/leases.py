"""Tickets and leases."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


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
    queue_class: Mapped[int] = mapped_column(default=2)
    """0 urgent inference, 1 inference, 2 fine-tuning and interactive, 3 training."""
    reclaims: Mapped[bool] = mapped_column(default=False)
    """Leases were told to end for it: their room is its own."""
    state: Mapped[str] = mapped_column(default="waiting", index=True)
    verdict: Mapped[JsonDict] = mapped_column(default=dict)
    lease_id: Mapped[str | None]
    asked_at: Mapped[datetime]
    since: Mapped[datetime | None]
    """Since when it waits, where it waits again for what was taken back from it."""
    decided_at: Mapped[datetime | None]
    promised_at: Mapped[datetime | None]
    """The start at the latest that was told of it, once one was known."""


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
    rate: Mapped[int | None] = mapped_column(BigInteger)
    """Micro-units of money an hour, as it was when granted; null is unknown."""
    queue_class: Mapped[int] = mapped_column(default=2)
    gpus: Mapped[int] = mapped_column(default=0)
    """What it counts of GPUs, in thousandths."""
    parent: Mapped[str | None] = mapped_column(index=True)
    """The lease whose slices it runs on. Those are charged and counted once, by their own lease."""
    granted_at: Mapped[datetime] = mapped_column(index=True)
    until: Mapped[datetime | None]
    renewals: Mapped[int] = mapped_column(default=0)
    claimed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    uncertain_s: Mapped[int] = mapped_column(default=0)
    """It ended at `ended_at`, or up to so much later: nobody saw it."""
    end_reason: Mapped[str | None]
    handle: Mapped[JsonDict] = mapped_column(default=dict)
    """What the backend needs to stop it: `where` of its handle, written before and while it starts."""

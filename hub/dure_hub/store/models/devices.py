"""GPUs that were seen, why some are kept from being granted, and the time that nobody is charged for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


class SeenDevice(Base):
    """A GPU that was there once; one that falls off the bus is missed by this. `facts` are what it said."""

    __tablename__ = "devices"

    uuid: Mapped[str] = mapped_column(primary_key=True)
    facts: Mapped[JsonDict] = mapped_column(default=dict)
    seen_at: Mapped[datetime]
    """When it was first seen."""
    cleared_at: Mapped[datetime | None]
    """When an administrator last took it back into use: what it had reported by then is over."""


class Closure(Base):
    """Why a GPU is granted to nobody. `kind`: fault, outside (used by what the portal did not start), cordon."""

    __tablename__ = "closures"

    device: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str]
    """Of a fault lost, xid, rows or ecc; of a cordon cordon or drain; else outside."""
    facts: Mapped[JsonDict] = mapped_column(default=dict)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    """Of a cordon when it is thought to be over; of a drain by when who holds it is to end."""
    message: Mapped[str | None] = mapped_column(Text)
    by: Mapped[str]


class Pause(Base):
    """Time of a lease that is not charged, since a GPU of it has a fault. Without `until` it goes on."""

    __tablename__ = "pauses"

    id: Mapped[str] = mapped_column(primary_key=True)
    lease_id: Mapped[str] = mapped_column(index=True)
    device: Mapped[str] = mapped_column(index=True)
    code: Mapped[str]
    facts: Mapped[JsonDict] = mapped_column(default=dict)
    since: Mapped[datetime]
    until: Mapped[datetime | None]

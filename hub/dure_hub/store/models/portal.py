"""Tokens, events, and who leads."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, false, text
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


class Token(Base):
    """A token the portal minted. Only its SHA-256 is kept; `scopes` are the hub's own words.

    One with a `name` is a machine's key: `used_at` is its last use, to the minute.
    """

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
    name: Mapped[str | None]
    used_at: Mapped[datetime | None]


class Login(Base):
    """What the login provider last said of a person. `subject` is the provider's own id of them.

    `gone_at` is when it confirmed them no more: they are warned, and everything of theirs ends at `ends_at`, and
    has at `ended_at`. `notes` holds their teams, groups that could be none, and ends of leases as they were.
    """

    __tablename__ = "logins"

    name: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str | None]
    checked_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    why: Mapped[str | None]
    gone_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    notes: Mapped[JsonDict] = mapped_column(default=dict)


class Event(Base):
    """One change, written in the transaction of the change. The database refuses to change or remove one.

    `seq` numbers them in the order of their commits, with gaps: writers stand in line, so who reads up to a number
    has read all that will ever be below it. It is `untold` until the portal has made notices of it for whom it
    concerns: no event is told of by none. That mark alone may change.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_untold", "id", sqlite_where=text("untold"), postgresql_where=text("untold")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, index=True, unique=True)
    actor: Mapped[str]
    on_behalf_of: Mapped[str | None]
    verb: Mapped[str]
    object: Mapped[str] = mapped_column(index=True)
    verdict: Mapped[JsonDict] = mapped_column(default=dict)
    at: Mapped[datetime] = mapped_column(index=True)
    untold: Mapped[bool] = mapped_column(default=False, server_default=false())


class Leadership(Base):
    """Who reconciles. One row a task; a holder that stops renewing loses it."""

    __tablename__ = "leaderships"

    task: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]

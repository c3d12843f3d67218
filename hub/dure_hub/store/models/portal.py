"""Tokens, events, and who leads."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, false, text
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


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
    """One change, written in the transaction of the change.

    It is `untold` until the portal has made notices of it for whom it concerns: no event is told of by none.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_untold", "id", sqlite_where=text("untold"), postgresql_where=text("untold")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
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

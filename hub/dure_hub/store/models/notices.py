"""What people were told, where it was sent, and how they want it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


class Notice(Base):
    """One thing that one person is told. The same `key` is told to a person once.

    `code` and `facts` make the sentence; `useful_until` is when it is too late to send it.
    """

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("person", "key"), Index("ix_notices_unseen", "person", "seen_at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    code: Mapped[str]
    thing: Mapped[str]
    facts: Mapped[JsonDict] = mapped_column(default=dict)
    key: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(index=True)
    useful_until: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]


class NoticeChannel(Base):
    """An address of a person's to which notices are sent. It may hold a secret, and is kept encrypted.

    `scheme` and `host` are all of it that is ever shown; the host is null where a service has it fixed.
    """

    __tablename__ = "notice_channels"

    id: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(index=True)
    scheme: Mapped[str]
    host: Mapped[str | None]
    sealed: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime]


class Delivery(Base):
    """The sending of a notice to one channel, or by the portal's own mail (`channel` is null).

    It is open while `next_at` is set. `tries` and `next_at` are written before each try, so that a portal that is
    killed in the middle tries again, and no two at once. `error` is the code of what the last one came to.
    """

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    notice_id: Mapped[str] = mapped_column(ForeignKey("notices.id", ondelete="CASCADE"), index=True)
    channel: Mapped[str | None] = mapped_column(index=True)
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None]
    error_at: Mapped[datetime | None]


class NoticeWishes(Base):
    """How a person wants to be told; null is the portal's own. `off` are kinds that are only listed."""

    __tablename__ = "notice_wishes"

    person: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str | None]
    timezone: Mapped[str | None]
    mail: Mapped[bool] = mapped_column(default=True)
    off: Mapped[list[str]] = mapped_column(JSON, default=list)

"""Quotas, budgets, counters and use."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base


class Quota(Base):
    """How much a user or a team (`kind`) may use. A null limit is none; an upload's MiB are 2^20 bytes.

    `max_lifetime_s` is how long a server may run at most, beside what its profile says.
    """

    __tablename__ = "quotas"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    gpus: Mapped[int | None]
    gpu_hours_month: Mapped[int | None]
    api_calls_day: Mapped[int | None]
    upload_mb_month: Mapped[int | None]
    max_lifetime_s: Mapped[int | None]
    set_by: Mapped[str]
    set_at: Mapped[datetime]


class Budget(Base):
    """Money a team or project (`kind`) may spend a month, in micro-units. Months are those of UTC."""

    __tablename__ = "budgets"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    alerted_percent: Mapped[int | None]
    """The highest threshold told of in `alerted_month`."""
    alerted_month: Mapped[str | None]
    set_by: Mapped[str]
    set_at: Mapped[datetime]


class Counter(Base):
    """A sum of one `period` (`2026-01-31` or `2026-01`, of UTC). `what`: api_calls, upload_bytes, near:<limit>.

    Of the portal itself (`kind` portal) it is the time, in microseconds since the epoch, of a last look.
    """

    __tablename__ = "counters"

    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class UsageHour(Base):
    """What was seen of one lease in one hour (UTC), in microseconds. Time nobody looked at is in none of them.

    In `seen_us` it was looked at, in `known_us` of that its utilisation was said, and `busy_us` of those its
    processors worked. Memory (MiB) is that of its fullest GPU, or its processes' without one; null is unknown.
    """

    __tablename__ = "usage"

    lease_id: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    seen_us: Mapped[int] = mapped_column(BigInteger, default=0)
    known_us: Mapped[int] = mapped_column(BigInteger, default=0)
    busy_us: Mapped[int] = mapped_column(BigInteger, default=0)
    memory_max_mb: Mapped[int | None]
    memory_sum_mb: Mapped[int] = mapped_column(BigInteger, default=0)
    memory_samples: Mapped[int] = mapped_column(default=0)
    samples: Mapped[int] = mapped_column(default=0)

"""The durable rows of all the words: tickets, leases, environments, jobs, endpoints, events, tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base as Base
from dure_hub.store.base import JsonDict


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
    dismissed_at: Mapped[datetime | None]
    """When its owner put away what was said of its end."""


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
    team: Mapped[str | None]
    project: Mapped[str | None]
    queue_class: Mapped[int] = mapped_column(default=1)
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


class Share(Base):
    """How much a user or team (`kind`) has had lately: decayed GPU-seconds of ended leases, as of `at`."""

    __tablename__ = "shares"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    gpu_seconds: Mapped[float]
    at: Mapped[datetime]


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

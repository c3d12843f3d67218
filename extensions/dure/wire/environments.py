"""Servers of people, and the tickets and leases behind them. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from dure.wire.base import Answer, Ask, Name, TeamName, Ulid


class Slice(Answer):
    """What a lease holds. `device` is a GPU's UUID or `cpu`; sizes are MiB and cores.

    Of a GPU it is the whole, or the MIG instance `mig` from memory unit `start` on, or `share` thousandths.
    """

    device: str
    cpu_cores: float = 0
    memory_mb: int = 0
    node: str = ""
    mig: str | None = None
    start: int | None = None
    share: int = 1000


class Ticket(Answer):
    """A request that waits. `position` counts from 1; `expected_start` is at the latest, null if unknown."""

    id: str
    state: str
    purpose: str
    profile: str
    position: int | None = None
    expected_start: datetime | None = None
    asked_at: datetime
    verdict: dict[str, Any] = {}
    next_best: str | None = None


class Lease(Answer):
    """A granted set of slices. `until` is null for serving; `rate` is micro-units an hour, null if unknown."""

    id: str
    owner: str
    team: str | None = None
    project: str | None = None
    purpose: str
    profile: str
    slices: list[Slice] = []
    rate: int | None = None
    granted_at: datetime
    until: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None


class EnvironmentRequest(Ask):
    """Ask for a server. The same `id` sent twice is one request.

    `team` and `project` are charged for it; null is the only team of who asks, and no project.
    """

    id: Ulid
    name: Name = "default"
    profile: str = Field(max_length=60)
    lifetime_s: int | None = Field(default=None, ge=300, le=30 * 86400)
    team: TeamName | None = None
    project: Name | None = None


class ExtendRequest(Ask):
    """Move the end of a server to `until`. An end that is set already is no error, so it may be sent again."""

    until: AwareDatetime


class Environment(Answer):
    """A server: `phase` is waiting, starting, running, stopping, stopped or failed.

    `url` is the path on the front port that opens it; `page` the waiting page while there is no server yet.
    `idle_since` is when it was last seen in use, null while unknown; `idle_end` is when it ends if it stays idle,
    null where idleness ends nothing. `extendable_until` is the latest end that may be asked for now.
    """

    name: str
    owner: str
    profile: str
    phase: str
    url: str | None = None
    page: str | None = None
    reason: str | None = None
    ticket: Ticket | None = None
    lease: Lease | None = None
    idle_since: datetime | None = None
    idle_end: datetime | None = None
    extendable_until: datetime | None = None

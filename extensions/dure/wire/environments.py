"""Servers of people, and the tickets and leases behind them. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from dure.wire.base import Answer, Ask, Name, TeamName, Ulid

CheckState = Literal["in_use", "idle", "unknown"]


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
    """A request that waits. `position` counts from 1; `expected_start` is at the latest, null if unknown.

    `waits_for` is what is in its way: room, order (others before it), user_quota, team_quota, budget, own_server,
    away (its GPU, or the cluster, does not answer), disk (nearly full), cluster_queue (Kueue did not let it in),
    cluster_quota (a quota of the cluster has no room), no_node (no node took it), home (room where its home is) or
    never (as things are, waiting does not help). `why` says so in each language. `next_best` is a profile that is
    free now.
    """

    id: str
    state: str
    purpose: str
    profile: str
    position: int | None = None
    expected_start: datetime | None = None
    asked_at: datetime
    verdict: dict[str, Any] = {}
    next_best: str | None = None
    waits_for: str | None = None
    why: dict[str, str] | None = None


class Lease(Answer):
    """A granted set of slices. `until` is null for serving; `rate` is micro-units an hour, null if unknown.

    It ended at `ended_at`, or up to `uncertain_s` seconds later, where nobody saw it; that time is not charged.
    """

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
    uncertain_s: int = 0
    end_reason: str | None = None


class EnvironmentRequest(Ask):
    """Ask for a server. The same `id` sent twice is one request.

    `team` and `project` are charged for it; null is the team of the server that asks, else the only one of who
    asks. `image` is what it is made from: a name of the portal's, or a reference to a container image, where the
    profile lets who asks name any; null is the portal's first, or the profile's own.
    """

    id: Ulid
    name: Name = "default"
    profile: str = Field(max_length=60)
    lifetime_s: int | None = Field(default=None, ge=300, le=30 * 86400)
    team: TeamName | None = None
    project: Name | None = None
    image: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")


class ExtendRequest(Ask):
    """Move the end of a server to `until`. An end that is set already is no error, so it may be sent again."""

    until: AwareDatetime


class Receipt(Answer):
    """What the end of a server saved, by name, and what it could not; `hook` is what its owner had run then.

    Of `pages` that were open `silent` did not say what they saved. Null is unknown.
    """

    saved: list[str] = []
    failed: list[str] = []
    hook: dict[str, Any] | None = None
    pages: int | None = None
    silent: int | None = None


class Check(Answer):
    """One thing that idleness is judged by: gpu, kernels, terminals, pages, jobs or requests.

    `state` is in_use, idle or unknown, `since` when it has been so (of requests, the last); null where unknown.
    """

    check: str
    state: str
    since: datetime | None = None


class ActivityReport(Ask):
    """What a server says of itself: each in_use, idle or unknown."""

    kernels: CheckState = "unknown"
    terminals: CheckState = "unknown"
    pages: CheckState = "unknown"


class StartStep(Answer):
    """One thing that a start has come to. `percent` is null where nobody said; `text` is in each language."""

    percent: int | None = None
    text: dict[str, str]
    at: datetime


class StartProgress(Answer):
    """How far a start is: the server's phase, its address once it runs, and what the hub has said, oldest first.

    Empty where no start is followed: before it began, and some time after it ended.
    """

    phase: str
    url: str | None = None
    percent: int | None = None
    steps: list[StartStep] = []


class PutOff(Answer):
    """Nobody looked from `since` to `wake`, so the lease that was to end at `before` ends when `until` says.

    `code` is why: machine_slept, clock_leapt (it was set, or the machine is a paused guest) or portal_away.
    """

    code: str
    since: datetime
    wake: datetime
    before: datetime


class Environment(Answer):
    """A server: `phase` is waiting, held, starting, running, stopping, stopped or failed.

    `url` opens it: a path below the portal's address, or an address where people have hosts of their own; `page`
    is the waiting page while there is no server yet.
    `idle_since` is when it was last seen in use, null while unknown; `idle_end` is when it ends if it stays idle,
    null where idleness ends nothing. `extendable_until` is the latest end that may be asked for now.
    Its turn has come while it is `held`: its place is kept until `held_until` for its owner to start it.
    `ran` is whether its last server was ever ready, `ended_at` when it ended, `receipt` what was saved then (null
    where nobody said); where nobody saw the end, it ended between `ended_at` and `ended_by`. `told` is
    whether its owner has put that away. `log_end` is the last of its log where it did not start, for its owner
    alone. `checks` is what the idleness of one that runs is judged by. `put_off` says why its end was moved, where
    nobody could have been told of the one before. `notice` says in each language what its owner should know of its
    GPU: that it has a fault, or is being cleared. `stop_at` is when a stop that an administrator or a lead has set
    ends it, and `stop_text` why, in each language: its owner cannot move that.
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
    image: str | None = None
    project: str | None = None
    held_until: datetime | None = None
    ran: bool = False
    ended_at: datetime | None = None
    ended_by: datetime | None = None
    receipt: Receipt | None = None
    checks: list[Check] = []
    log_end: str | None = None
    stop_at: datetime | None = None
    stop_text: dict[str, str] | None = None
    told: bool = False
    put_off: PutOff | None = None
    notice: dict[str, str] | None = None

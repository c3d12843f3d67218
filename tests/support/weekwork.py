"""What "runs" in a simulated week, and what people were told while they waited for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from dure_hub.backends.base import Handle, Kind, LogPiece, Phase, Runs, Seen
from dure_hub.operations import admission
from dure_hub.operations.reclaim import RAN_LONG, RECLAIMED
from dure_hub.store.models import Lease, Ticket


class Running(Runs):
    """What runs, by lease; what has exited stays until it is forgotten."""

    def __init__(self) -> None:
        self.there: dict[str, Seen] = {}

    async def seen(self) -> Sequence[Seen]:
        return list(self.there.values())

    async def stop(self, handle: Handle, grace_s: float) -> None:
        self.there.pop(handle.lease, None)

    async def poll(self, handle: Handle) -> Seen:
        return self.there.get(handle.lease, Seen(handle, Phase.GONE))

    async def forget(self, handle: Handle) -> None:
        self.there.pop(handle.lease, None)

    async def log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        return LogPiece("", offset, offset)

    async def keep_log(self, handle: Handle, target: Path) -> None:
        await asyncio.to_thread(target.touch)

    async def tail(self, handle: Handle, limit: int) -> str:
        return ""


class Work:
    """One kind of work, as the reconciler's `Subject`."""

    kind = Kind.JOB
    grace_s = 60.0
    keeps = False

    def __init__(
        self,
        purpose: str,
        started: Callable[[Ticket, Lease], None],
        stopped: Callable[[Session, Lease, bool], None],
    ) -> None:
        self.purpose = purpose
        running = Running()
        self.runs: Runs = running
        self.there = running.there
        self._started, self._stopped = started, stopped

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        lease.claimed_at = lease.granted_at
        self.there[lease.id] = Seen(Handle(lease.id, self.kind), Phase.RUNNING)
        self._started(ticket, lease)

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """Its ticket says so."""

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Training that was interrupted waits again, as jobs with a checkpoint do."""
        self.there.pop(lease.id, None)
        again = lease.end_reason in (RECLAIMED, RAN_LONG, "expired")
        self._stopped(session, lease, again and self.purpose == admission.TRAINING)

    async def stop(self, handle: Handle, reason: str) -> None:
        await self.runs.stop(handle, 0)

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """Nothing is started here: `granted` did."""


@dataclass
class Wait:
    """One ticket's time in the line, and what was told of it."""

    ticket: str
    purpose: str
    profile: str
    team: str
    since: datetime
    told: bool = False
    """Whether it had to wait, and so a person was told something."""
    first: datetime | None = None
    """The start at the latest that was shown when it was asked for; None is "unknown"."""
    tightest: datetime | None = None
    """The earliest of all that were shown while it waited."""
    last: datetime | None = None
    state: str = "waiting"
    over: datetime | None = None
    slips: list[tuple[datetime, float, tuple[str, ...]]] = field(default_factory=list)
    """When what was told moved to later, by how many seconds, and what happened then."""

    def show(self, at: datetime, when: datetime | None, why: Sequence[str]) -> None:
        """A person looks."""
        if not self.told:
            self.told, self.first = True, when
        elif self.last is not None and (when is None or when > self.last):
            late = float("inf") if when is None else (when - self.last).total_seconds()
            self.slips.append((at, late, tuple(sorted(set(why)))))
        self.last = when
        if when is not None:
            self.tightest = when if self.tightest is None else min(self.tightest, when)

    @property
    def waited(self) -> timedelta | None:
        """Until it was over; None while it waits."""
        return None if self.over is None else self.over - self.since

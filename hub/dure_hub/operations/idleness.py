"""Servers that nobody uses: what the hub says of each server's last activity, and who ends for it.

The hub has each server's own report (kernels, terminals, requests, `dure_lab.busy`), and its own clock. Of that
time only a change counts: it means use since the last look, by our clock.

Nobody ends on the first look after we were blind. A portal that was down, a hub that did not answer, or a machine
that slept has missed reports, and people who come back are about to be seen. So an environment ends as idle only
when the hub has answered without a gap for as long as two of the servers' reports take, and as long after
`idle_end`: who comes back in the last second before it is reported only then.

A GPU that computes is use, however silent. One whose work cannot be seen is neither use nor idleness: such a
server ends only once it says itself that its kernels and terminals are idle.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.backends.base import Measures
from dure_hub.hubapi import HubServer
from dure_hub.operations import admission, checks, reasons
from dure_hub.operations import environment_rows as rows
from dure_hub.policies.idle import idle
from dure_hub.policies.verdict import Verdict
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease

log = logging.getLogger(__name__)

_REPORTS = 2
_LEAP_S = 30.0
"""Our clock and the one that counts only waking time may differ so much between two looks, else we slept."""
_LOOKS = 2
"""So many looks may be missed before we count as blind."""
_GAP_S = 60.0
"""No shorter time between two looks counts as a gap: a machine may be slow."""

Places = Mapping[tuple[str, str], HubServer]
Measure = Callable[[], Awaitable[Measures]]


class Watching:
    """For how long the hub has been seen answering without a gap, in seconds of `monotonic`.

    More than `gap_s` between two answers is a gap: this process was stopped or frozen, and so may the others be.
    """

    def __init__(self, clock: Clock, gap_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._gap_s, self._monotonic = clock, gap_s, monotonic
        self._since: float | None = None
        self._last: tuple[datetime, float] | None = None

    def answered(self) -> float:
        """The hub has answered now."""
        now, counted = self._clock(), self._monotonic()
        if self._last is not None:
            wall_s = (now - self._last[0]).total_seconds()
            between_s = counted - self._last[1]
            if between_s > self._gap_s or abs(wall_s - between_s) > _LEAP_S:
                self._since = None
        self._last = now, counted
        if self._since is None:
            self._since = counted
        return counted - self._since

    def silent(self) -> None:
        """The hub does not answer, or its answer could not be used."""
        self._since = None


def longest_gap_s(settings: Settings, look_every_s: float) -> float:
    """The longest time between two looks at the hub that is none yet, where one is due so often."""
    return max(_GAP_S, settings.activity_interval_s, _LOOKS * look_every_s)


@dataclass(frozen=True)
class _Change:
    """What one look means for a running environment: it was used, or it has been idle for too long.

    `busy`: work of `profile="mine"` runs on its slice, or its GPU computes, and that is use. `activity` is what
    the hub has told of. `gpu` is the new state of that check.
    """

    environment: str
    lease: str
    activity: datetime | None = None
    busy: bool = False
    over: Verdict | None = None
    gpu: str | None = None


class Idleness:
    """Keeps when each environment was last in use, and asks for the end of those that were idle for too long."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        watching: Watching,
        measure: Measure | None = None,
    ) -> None:
        self.watching = watching
        self._settings = settings
        self._store = store
        self._clock = clock
        self._measure = measure
        self._measured: datetime | None = None

    async def look(self, known: Places) -> None:
        """Compare with every active server of the hub. Writes once, and only if something has changed."""
        grace_s = _REPORTS * self._settings.activity_interval_s
        blind = self.watching.answered() < grace_s
        timeout_s = 0 if blind else self._settings.idle_timeout_s
        seen_at = self._clock()  # no later than the rows are read: who is active meanwhile stays so
        gpus = await self._gpus(seen_at)

        def changes(session: Session) -> list[_Change]:
            return _changes(session, known, timeout_s, self._settings.activity_interval_s, seen_at, gpus)

        if await self._store.read(changes):
            await self._store.run(lambda session: self._write(session, changes(session), seen_at))

    async def _gpus(self, now: datetime) -> Mapping[str, str]:
        """Whether the GPUs of each running server compute, by lease; as often as servers report, else nothing."""
        every = timedelta(seconds=self._settings.activity_interval_s)
        if self._measure is None or (self._measured is not None and abs(now - self._measured) < every):
            return {}
        held = await self._store.read(_with_gpus)
        if not held:
            return {}
        self._measured = now
        try:
            measures = await self._measure()
        except (DureError, OSError):
            log.exception("the GPUs cannot be measured: whether they compute is unknown")
            measures = Measures()
        threshold = self._settings.gpu_idle_percent / 100
        return {lease: checks.gpu_state(slices, lease, measures, threshold) for lease, slices in held.items()}

    def _write(self, session: Session, found: Sequence[_Change], now: datetime) -> None:
        for change in found:
            row = session.get_one(Environment, change.environment)
            lease = session.get_one(Lease, change.lease)
            if change.gpu is not None:
                row.checks = checks.changed(row.checks, checks.GPU, change.gpu, now)
            if change.activity is not None:
                row.activity, row.active_at = change.activity, now
            elif change.busy:
                row.active_at = now
            elif change.over is not None and admission.ask_end(session, lease, "idle", now):
                row.phase = rows.STOPPING
                row.reason = reasons.idle_for(self._settings.idle_timeout_s)
                facts = change.over.to_json()
                thing = rows.thing(row)
                record(session, now, PORTAL, "environment.stop", thing, facts, row.owner)
                log.info("%s/%s ends: nobody used it for %s s", row.owner, row.name, change.over.facts["idle_s"])


def _running(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .join(Lease, Lease.id == Environment.lease_id)
        .where(Environment.phase == rows.RUNNING, Lease.ended_at.is_(None), Lease.end_reason.is_(None))
    )


def _with_gpus(session: Session) -> dict[str, list[dict[str, Any]]]:
    query = _running(Lease.id, Lease.slices).select_from(Environment)
    return {lease: slices for lease, slices in session.execute(query).all() if checks.has_gpu(slices)}


def _changes(
    session: Session, known: Places, timeout_s: int, report_s: int, now: datetime, gpus: Mapping[str, str]
) -> list[_Change]:
    running = select(Lease.parent).where(Lease.parent.is_not(None), Lease.ended_at.is_(None))
    working = set(session.scalars(running))
    found = []
    for row, lease, slices in session.execute(_running(Environment, Lease.id, Lease.slices)).all():
        # what was not looked at just now is as it was; a GPU that nobody ever looked at is unknown
        gpu = gpus.get(lease, checks.state_of(row, checks.GPU, now)) if checks.has_gpu(slices) else None
        busy = lease in working or gpus.get(lease) == checks.IN_USE
        change = _judged(row, lease, known.get((row.owner, row.name)), busy, gpu, timeout_s, report_s, now)
        if lease in gpus and gpus[lease] != (row.checks or {}).get(checks.GPU, {}).get("state"):
            change = replace(change or _Change(row.id, lease), gpu=gpus[lease])
        if change is not None:
            found.append(change)
    return found


def _judged(
    row: Environment,
    lease: str,
    server: HubServer | None,
    busy: bool,
    gpu: str | None,
    timeout_s: int,
    report_s: int,
    now: datetime,
) -> _Change | None:
    if server is None or not server.ready or server.last_activity is None:
        return None  # what the hub cannot tell is no idleness
    if server.last_activity != row.activity:
        return _Change(row.id, lease, activity=server.last_activity)
    if busy:
        # written down as often as a server reports, and no oftener
        late = row.active_at is None or now - row.active_at >= timedelta(seconds=report_s)
        return _Change(row.id, lease, busy=True) if late else None
    verdict = idle(row.active_at, timeout_s, now, _REPORTS * report_s)
    if not verdict.allowed or (gpu == checks.UNKNOWN and not checks.has_said_idle(row, now)):
        return None  # nobody sees its GPU, and it does not say itself that nothing is at work
    return _Change(row.id, lease, over=verdict)

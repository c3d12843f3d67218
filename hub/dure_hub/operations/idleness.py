"""Servers that nobody uses: what the hub says of each server's last activity, and who ends for it.

The hub has each server's own report (kernels, terminals, requests, `dure_lab.busy`), and its own clock. Of that
time only a change counts: it means use since the last look, by our clock.

Nobody ends on the first look after we were blind. A portal that was down, a hub that did not answer, or a machine
that slept has missed reports, and people who come back are about to be seen. So an environment ends as idle only
when the hub has answered without a gap for as long as two of the servers' reports take, and as long after
`idle_end`: who comes back in the last second before it is reported only then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.hubapi import HubServer
from dure_hub.operations import admission, reasons
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

    `busy`: work of `profile="mine"` runs on its slice, and that is use. `activity` is what the hub has told of.
    """

    environment: str
    lease: str
    activity: datetime | None = None
    busy: bool = False
    over: Verdict | None = None


class Idleness:
    """Keeps when each environment was last in use, and asks for the end of those that were idle for too long."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, watching: Watching) -> None:
        self.watching = watching
        self._settings = settings
        self._store = store
        self._clock = clock

    async def look(self, known: Places) -> None:
        """Compare with every active server of the hub. Writes once, and only if something has changed."""
        grace_s = _REPORTS * self._settings.activity_interval_s
        blind = self.watching.answered() < grace_s
        timeout_s = 0 if blind else self._settings.idle_timeout_s
        seen_at = self._clock()  # no later than the rows are read: who is active meanwhile stays so

        def changes(session: Session) -> list[_Change]:
            return _changes(session, known, timeout_s, self._settings.activity_interval_s, seen_at)

        if await self._store.read(changes):
            await self._store.run(lambda session: self._write(session, changes(session), seen_at))

    def _write(self, session: Session, found: Sequence[_Change], now: datetime) -> None:
        for change in found:
            row = session.get_one(Environment, change.environment)
            lease = session.get_one(Lease, change.lease)
            if change.activity is not None:
                row.activity, row.active_at = change.activity, now
            elif change.busy:
                row.active_at = now
            elif change.over is not None and admission.ask_end(session, lease, "idle", now):
                row.phase = rows.STOPPING
                row.reason = reasons.idle_for(self._settings.idle_timeout_s)
                facts = change.over.to_json()
                record(
                    session,
                    now,
                    PORTAL,
                    "environment.stop",
                    f"environment:{row.owner}/{row.name}",
                    facts,
                    row.owner,
                )
                log.info("%s/%s ends: nobody used it for %s s", row.owner, row.name, change.over.facts["idle_s"])


def _changes(session: Session, known: Places, timeout_s: int, report_s: int, now: datetime) -> list[_Change]:
    running = select(Lease.parent).where(Lease.parent.is_not(None), Lease.ended_at.is_(None))
    working = set(session.scalars(running))
    query = (
        select(Environment, Lease.id)
        .join(Lease, Lease.id == Environment.lease_id)
        .where(Environment.phase == rows.RUNNING, Lease.ended_at.is_(None), Lease.end_reason.is_(None))
    )
    found = []
    for row, lease in session.execute(query).all():
        server = known.get((row.owner, row.name))
        if server is None or not server.ready or server.last_activity is None:
            continue  # what the hub cannot tell is no idleness
        if server.last_activity != row.activity:
            found.append(_Change(row.id, lease, activity=server.last_activity))
            continue
        if lease in working:
            # written down as often as a server reports, and no oftener
            if row.active_at is None or now - row.active_at >= timedelta(seconds=report_s):
                found.append(_Change(row.id, lease, busy=True))
            continue
        verdict = idle(row.active_at, timeout_s, now, _REPORTS * report_s)
        if verdict.allowed:
            found.append(_Change(row.id, lease, over=verdict))
    return found

"""How much of what is held is used: one look a minute, folded into a row for each lease and hour.

A look stands for the time since the last one. Where more than `_GAP` has passed (the portal was down, the machine
slept), that time stays unseen, and nobody calls it idle. The time of the last look is in the store, in the
transaction of what it adds: no time is counted twice, whoever looks, and what a crash loses is one look.

A GPU lease is as busy as its GPUs on average, by their driver; MIG instances by their own figures where there are
any. What the driver does not say of one of them is unknown of all. Of a share it is what its own processes use of
the GPU, of the part that was promised; where these cannot be told from the others', unknown. Without a GPU it is
the processors' time of those promised. What runs on this lease's slices (`parent`) keeps a share or processors
busy too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dure_hub.backends.base import InventoryBackend, Measures, OwnUse, Reading, Usage
from dure_hub.policies.cost import micros
from dure_hub.store import Clock, Store
from dure_hub.store.models import Counter, Lease, UsageHour

INTERVAL_S = 60.0
KEPT = timedelta(days=400)
"""Hours and counters are kept as long as the longest window that can be asked for."""
_GAP = timedelta(seconds=2.5 * INTERVAL_S)
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = {"kind": "portal", "subject": "usage", "what": "last_look", "period": ""}


@dataclass(frozen=True)
class Sample:
    """One lease at a moment: the share of it at work (0 to 1) and the memory in use (MiB). None is unknown."""

    busy: float | None = None
    memory_mb: int | None = None


class Uses:
    """Looks, and keeps what it saw."""

    def __init__(self, store: Store, clock: Clock, inventory: InventoryBackend) -> None:
        self._store, self._clock, self._inventory = store, clock, inventory

    async def look(self) -> None:
        """One look. Without leases there is nothing to measure, only the time to note."""
        active = select(Lease.id).where(Lease.ended_at.is_(None)).limit(1)
        anybody = await self._store.read(lambda session: session.scalar(active))
        measures = Measures() if anybody is None else await self._inventory.measure()
        await self._store.run(lambda session: self._keep(session, measures))

    def _keep(self, session: Session, measures: Measures) -> None:
        now = self._clock()
        last = _last_look(session, now)
        if last is None or not timedelta(0) < now - last <= _GAP:
            return
        query = select(Lease).where(Lease.ended_at.is_(None), Lease.parent.is_(None), Lease.granted_at < now)
        leases = session.scalars(query).all()
        children = _children(session)
        rows = _rows(session, {hour for hour, _ in _hours(last, now)})
        for lease in leases:
            sample = sample_of(lease.slices, lease.id, measures, children.get(lease.id, ()))
            _fold(session, rows, lease, sample, last, now)
        if last.replace(minute=0, second=0, microsecond=0) != now.replace(minute=0, second=0, microsecond=0):
            _forget(session, now)


def sample_of(
    slices: Sequence[Mapping[str, Any]], lease: str, measures: Measures, children: Sequence[str] = ()
) -> Sample:
    """What a look says of one lease; `children` are the leases of what runs on its slices."""
    gpus = [piece for piece in slices if piece["device"] != "cpu"]
    if not gpus:
        used = _together([measures.leases.get(one, Usage()) for one in (lease, *children)])
        promised = sum(float(piece["cpu_cores"]) for piece in slices)
        busy = None if used.cpu_cores is None or not promised else min(used.cpu_cores / promised, 1.0)
        return Sample(busy, used.memory_mb)
    readings = [_reading(piece, (lease, *children), measures) for piece in gpus]
    works = [reading.utilisation for reading in readings if reading.utilisation is not None]
    memories = [reading.memory_used_mb for reading in readings if reading.memory_used_mb is not None]
    return Sample(
        sum(works) / len(works) if len(works) == len(readings) else None,
        max(memories) if len(memories) == len(readings) else None,
    )


def _together(uses: Sequence[Usage]) -> Usage:
    """What these use in all; unknown of one is unknown of all."""
    cores = [use.cpu_cores for use in uses if use.cpu_cores is not None]
    memories = [use.memory_mb for use in uses if use.memory_mb is not None]
    return Usage(
        sum(cores) if len(cores) == len(uses) else None, sum(memories) if len(memories) == len(uses) else None
    )


def _children(session: Session) -> dict[str | None, list[str]]:
    """What runs on the slices of which lease."""
    query = select(Lease.parent, Lease.id).where(Lease.ended_at.is_(None), Lease.parent.is_not(None))
    found: dict[str | None, list[str]] = {}
    for parent, child in session.execute(query):
        found.setdefault(parent, []).append(child)
    return found


def _reading(piece: Mapping[str, Any], leases: Sequence[str], measures: Measures) -> Reading:
    share = int(piece.get("share", 1000))
    if share != 1000:
        return _of_share(share, [measures.own_of(str(piece["device"]), lease) for lease in leases])
    if piece.get("mig") is not None:
        return measures.instances.get(str(piece.get("visible")), Reading())
    return measures.devices.get(str(piece["device"]), Reading())


def _of_share(share: int, uses: Sequence[OwnUse]) -> Reading:
    """What these use in all of a part of a GPU, in thousandths; unknown of one is unknown of all."""
    works = [use.utilisation for use in uses if use.utilisation is not None]
    memories = [use.memory_used_mb for use in uses if use.memory_used_mb is not None]
    return Reading(
        utilisation=min(1000 * sum(works) / share, 1.0) if len(works) == len(uses) else None,
        memory_used_mb=sum(memories) if len(memories) == len(uses) else None,
    )


def _last_look(session: Session, now: datetime) -> datetime | None:
    """When the last one was; this one is the last from now on."""
    us = micros(now - _EPOCH)
    row = session.get(Counter, _LAST, with_for_update=True)
    if row is None:
        session.add(Counter(**_LAST, value=us))
        return None
    last = _EPOCH + timedelta(microseconds=row.value)
    row.value = us
    return last


def _rows(session: Session, hours: set[datetime]) -> dict[tuple[str, datetime], UsageHour]:
    query = select(UsageHour).where(UsageHour.hour.in_(hours))
    return {(row.lease_id, row.hour): row for row in session.scalars(query)}


def _fold(
    session: Session,
    rows: dict[tuple[str, datetime], UsageHour],
    lease: Lease,
    sample: Sample,
    last: datetime,
    now: datetime,
) -> None:
    for hour, us in _hours(max(last, lease.granted_at), now):
        row = rows.get((lease.id, hour))
        if row is None:
            row = rows[lease.id, hour] = UsageHour(
                lease_id=lease.id,
                hour=hour,
                seen_us=0,
                known_us=0,
                busy_us=0,
                memory_sum_mb=0,
                memory_samples=0,
                samples=0,
            )
            session.add(row)
        row.seen_us += us
        row.samples += 1
        if sample.busy is not None:
            row.known_us += us
            row.busy_us += round(us * min(max(sample.busy, 0.0), 1.0))
        if sample.memory_mb is not None:
            row.memory_max_mb = max(row.memory_max_mb or 0, sample.memory_mb)
            row.memory_sum_mb += sample.memory_mb
            row.memory_samples += 1


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    """A stretch of time as parts of hours."""
    hour = start.replace(minute=0, second=0, microsecond=0)
    while hour < end:
        us = micros(min(end, hour + _HOUR) - max(start, hour))
        if us > 0:
            yield hour, us
        hour += _HOUR


def _forget(session: Session, now: datetime) -> None:
    oldest = now - KEPT
    session.execute(delete(UsageHour).where(UsageHour.hour < oldest))
    session.execute(delete(Counter).where(Counter.period < oldest.date().isoformat(), Counter.period != ""))

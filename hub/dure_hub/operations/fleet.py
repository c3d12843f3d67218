"""The whole fleet at one moment: devices, who holds what, and how much of it is used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.backends.base import Device, Inventory, InventoryBackend, Measures, Reading, Usage
from dure_hub.operations import admission, closures
from dure_hub.operations.devices import told_of
from dure_hub.operations.people import Person
from dure_hub.operations.remembered import lost, with_lost
from dure_hub.store import Clock, Store
from dure_hub.store.models import Closure, Endpoint, Environment, Execution, Job, Lease, Replica, Schedule

_FRESH_S = 2.0
"""A measure serves everyone who asks within this time: it costs a walk over all processes."""
KEEP_S = 0.5
"""How long `keep_fresh` is to rest; with two looks and what is made of them, it stays below `_FRESH_S`."""
_WATCHED_S = 10.0
"""So long after somebody has asked, the next look is made before they ask again."""


@dataclass(frozen=True)
class Look:
    """What there is and how busy it is; `at` is a time of the clock that only counts."""

    at: float
    inventory: Inventory
    measures: Measures


class Fleets:
    """Looks at the machines for administrators."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        inventory: InventoryBackend,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock, self._inventory = store, clock, inventory
        self._monotonic = monotonic
        self._last: Look | None = None
        self._asked: float | None = None
        self._changed: float | None = None
        self._looking = asyncio.Lock()

    async def look(self, person: Person) -> wire.Fleet:
        """Devices and active leases with what they use, as of at most two seconds ago. Null is unknown."""
        person.need_admin()
        seen = await self.seen()
        holders, rows, gone = await self._store.read(
            lambda session: (_holders(session, seen.measures.leases), closures.by_device(session), lost(session))
        )
        place = with_lost(seen.inventory, gone)
        return wire.Fleet(
            at=self._clock(),
            simulated=place.simulated,
            cpu_cores=place.cpu_cores,
            memory_mb=place.memory_mb,
            cpu_used=seen.measures.place.cpu_cores,
            memory_used_mb=seen.measures.place.memory_mb,
            devices=[_device(one, seen.measures, holders, rows.get(one.uuid, ())) for one in place.devices],
            holders=[holder for holder, _ in holders],
            why_no_gpu=None if place.why_no_gpu is None else dict(place.why_no_gpu),
        )

    async def seen(self, *, watching: bool = True) -> Look:
        """The machines as they were at most two seconds ago. Everyone who asks shares one look.

        Who is not `watching` asks now and then, as each open JupyterLab does: nothing is made ahead for them.
        """
        if watching:
            self._asked = self._monotonic()
        return self._last_within(_FRESH_S) or await self._shared_look(_FRESH_S)

    def is_fresh(self, look: Look) -> bool:
        """Whether a look may still be shown; whoever wants to know is somebody who looks on."""
        self._asked = self._monotonic()
        return self._is_younger(look, _FRESH_S)

    async def keep_fresh(self) -> Look | None:
        """Look again where somebody watches, so that who asks next need not wait; else None.

        Not sooner than `KEEP_S` after the last look, however often this is called.
        """
        if self._asked is None or self._monotonic() - self._asked >= _WATCHED_S:
            return None
        return await self._shared_look(KEEP_S)

    def forget(self) -> None:
        """Something was changed: no look that was begun before is shown any more."""
        self._changed = self._monotonic()

    async def _shared_look(self, age_s: float) -> Look:
        async with self._looking:  # who comes while somebody measures takes what that gives
            return self._last_within(age_s) or await self._look_now()

    def _last_within(self, age_s: float) -> Look | None:
        return self._last if self._last is not None and self._is_younger(self._last, age_s) else None

    def _is_younger(self, look: Look, age_s: float) -> bool:
        return self._monotonic() - look.at < age_s and (self._changed is None or look.at >= self._changed)

    async def _look_now(self) -> Look:
        begun = self._monotonic()
        inventory, measures = await asyncio.gather(self._inventory.look(), self._inventory.measure())
        self._last = Look(begun, inventory, measures)
        return self._last


def _device(
    device: Device,
    measures: Measures,
    holders: Sequence[tuple[wire.Holder, tuple[str, ...]]],
    rows: Sequence[Closure],
) -> wire.FleetDevice:
    reading = measures.devices.get(device.uuid, Reading())
    own = [holder for holder, devices in holders if device.uuid in devices]
    told = told_of(rows, held=bool(own))
    health = told.get("why") or device.health
    return wire.FleetDevice(
        uuid=device.uuid,
        name=device.name,
        memory_mb=device.memory_mb,
        memory_used_mb=reading.memory_used_mb,
        utilisation=reading.utilisation,
        temperature_c=reading.temperature_c,
        power_w=reading.power_w,
        health=None if health is None else dict(health),
        holders=own,
        **{name: told[name] for name in ("state", "since", "until", "message", "outsiders") if name in told},
    )


def _holders(session: Session, used: Mapping[str, Usage]) -> list[tuple[wire.Holder, tuple[str, ...]]]:
    """Every lease that has not ended, the oldest first, each with the GPUs it holds."""
    query = select(Lease).where(Lease.ended_at.is_(None)).order_by(Lease.granted_at, Lease.id)
    leases = session.scalars(query).all()
    names = _names(session, leases)
    return [(_holder(lease, names, used.get(lease.id, Usage())), admission.devices(lease)) for lease in leases]


def _holder(lease: Lease, names: Mapping[str, str], used: Usage) -> wire.Holder:
    return wire.Holder(
        lease=lease.id,
        owner=lease.owner,
        purpose=lease.purpose,
        subject=names.get(lease.subject, lease.subject),
        profile=lease.profile,
        since=lease.granted_at,
        until=lease.until,
        cpu_cores=sum(float(piece["cpu_cores"]) for piece in lease.slices),
        memory_mb=sum(int(piece["memory_mb"]) for piece in lease.slices),
        cpu_used=used.cpu_cores,
        memory_used_mb=used.memory_mb,
    )


def _names(session: Session, leases: Iterable[Lease]) -> dict[str, str]:
    """What each subject is called, as in events: one query a kind, however many leases there are."""
    subjects: dict[str, list[str]] = {}
    for lease in leases:
        subjects.setdefault(lease.purpose, []).append(lease.subject)
    queries = {
        admission.NOTEBOOK: select(Environment.id, Environment.owner, Environment.name),
        admission.TRAINING: select(Job.id, Job.owner, Job.name),
        admission.SERVING: select(Replica.id, Endpoint.name).join(Endpoint, Endpoint.id == Replica.endpoint_id),
        admission.SCHEDULE: select(Execution.id, Schedule.owner, Schedule.name).join(
            Schedule, Schedule.id == Execution.schedule_id
        ),
    }
    found: dict[str, str] = {}
    for purpose, query in queries.items():
        if ids := subjects.get(purpose):
            key = query.selected_columns[0]
            for row in session.execute(query.where(key.in_(ids))).all():
                found[row[0]] = "/".join(row[1:])
    return found

"""GPUs in trouble: looked at every few seconds, closed and opened, and what follows for who holds them.

What a look says counts once the next one says the same; an XID is an event of the driver's, and counts at once. A
fault stays until an administrator takes the GPU back into use, also over a restart. From then on nothing of it is
granted, and its holders are not charged. Their servers go on, with a notice, since there is unsaved work in them;
jobs, executions and model servers end, and find another GPU where they can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.backends.base import Device, Fault, Health, InventoryBackend
from dure_hub.catalogue.xids import is_fatal
from dure_hub.operations import admission, closures, device_words, pauses
from dure_hub.operations.closures import FAULTY
from dure_hub.operations.device_errors import SayWhy, TooLittleNotice
from dure_hub.operations.gpu_errors import NoSuchGpu
from dure_hub.operations.people import Person
from dure_hub.operations.remembered import facts_of, forget_elsewhere, remember, remembered
from dure_hub.policies.devices import CORDON, DRAIN, FAULT, OUTSIDE, drain_by, settled, state_of
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Closure, SeenDevice

LOOK_S = 5.0
LOST = "lost"
_ENDS = (admission.TRAINING, admission.SERVING, admission.SCHEDULE)
"""What ends with its GPU. A server does not: there may be unsaved work in it."""


@dataclass(frozen=True)
class Looked:
    """One look at what is wrong: faults by GPU and code, and which GPUs something else uses."""

    faults: Mapping[tuple[str, str], Fault] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()


class Devices:
    """Closes GPUs, and opens them."""

    def __init__(self, store: Store, clock: Clock, inventory: InventoryBackend) -> None:
        self._store, self._clock, self._inventory = store, clock, inventory
        self.changed: Callable[[], None] = _nothing
        """Called when something was closed or opened: looks from before are not to be used."""
        self._settled = False
        """Whether what is remembered is known to be of this place."""
        self._before: Looked | None = None
        self._first: dict[tuple[str, str], datetime] = {}
        """When each fault was first seen."""
        self._inside: frozenset[str] = frozenset()
        """Which GPUs nothing else used in the last look."""

    async def look(self) -> None:
        """One look. Of a driver that does not answer nothing is said."""
        health = await self._inventory.health()
        if health.present is None:
            self._before, self._inside = None, frozenset()
            return
        if not self._settled:
            nodes = {node.name for node in (await self._inventory.look()).by_node()}
            await self._store.run(lambda session: forget_elsewhere(session, nodes))
            self._settled = True
        now, present = self._clock(), {device.uuid: device for device in health.present}
        known = await self._store.read(lambda session: set(session.scalars(select(SeenDevice.uuid))))
        seen = _looked(health, known - present.keys())
        self._first = {key: self._first.get(key, now) for key in seen.faults}
        before, self._before = self._before or Looked(), seen
        free = frozenset(present) - seen.outside
        inside, self._inside = settled(self._inside, free), free
        faults = [seen.faults[key] for key in settled(before.faults, seen.faults)]
        outside = {uuid: health.outsiders[uuid] for uuid in settled(before.outside, seen.outside)}
        new = [device for uuid, device in present.items() if uuid not in known]
        events = [one for one in health.events if is_fatal(int(one.facts.get("xid", 0)))]
        anything = bool(new or faults or events or outside)
        if not anything and not await self._store.read(_any_outside):
            return

        def write(session: Session) -> bool:
            remember(session, new, now)
            changed = [self._fault(session, one, self._first[one.device, one.code], now) for one in faults]
            changed += [self._event(session, one, now) for one in events]
            for uuid, others in outside.items():
                facts = {"processes": [asdict(one) for one in others]}
                changed.append(closures.close(session, uuid, OUTSIDE, OUTSIDE, now, PORTAL, facts=facts))
            changed += [bool(closures.lift(session, uuid, [OUTSIDE], now, PORTAL)) for uuid in inside]
            return any(changed)

        if await self._store.run(write):
            self.changed()

    def _event(self, session: Session, event: Fault, now: datetime) -> bool:
        """Close for an event of the driver's, unless the GPU was taken back into use after it."""
        at = event.at or now
        row = session.get(SeenDevice, event.device)
        if row is not None and row.cleared_at is not None and at <= row.cleared_at:
            return False
        return self._fault(session, event, at, now)

    def _fault(self, session: Session, fault: Fault, at: datetime, now: datetime) -> bool:
        """Close it, once: what comes after the first fault adds nothing."""
        if session.get(Closure, (fault.device, FAULT)) is not None:
            return False
        facts = dict(fault.facts)
        closures.close(session, fault.device, FAULT, fault.code, now, PORTAL, facts=facts, since=min(at, now))
        for lease in closures.stop_charging(session, fault.device, fault.code, facts, at, now):
            if lease.purpose in _ENDS:
                admission.ask_end(session, lease, FAULTY, now)
        return True

    async def list(self, person: Person) -> Sequence[wire.Device]:
        """Every GPU with its state; for administrators."""
        person.need_admin()
        place = {device.uuid: device for device in (await self._inventory.look()).devices}

        def read(session: Session) -> Sequence[wire.Device]:
            known, rows = remembered(session), closures.by_device(session)
            every = {**place, **{uuid: device for uuid, device in known.items() if uuid not in place}}
            return [on_wire(session, device, rows.get(uuid, ())) for uuid, device in every.items()]

        return await self._store.read(read)

    async def cordon(self, person: Person, uuid: str, ask: wire.CordonRequest) -> wire.Device:
        """Grant nothing of it from now on; who holds it goes on. Asked again, date and message are new."""

        def write(session: Session, now: datetime) -> None:
            until = ask.until.astimezone(UTC) if ask.until else None
            closures.close(session, uuid, CORDON, CORDON, now, person.name, until=until, message=ask.message)

        return await self._change(person, uuid, write) or self._gone(uuid)

    async def drain(self, person: Person, uuid: str, ask: wire.DrainRequest) -> wire.Device:
        """The same, and who holds it ends by the date. Raises `TooLittleNotice` and `SayWhy`."""
        if ask.now and not ask.message:
            raise SayWhy

        def write(session: Session, now: datetime) -> None:
            verdict = drain_by(ask.until.astimezone(UTC) if ask.until else None, now, at_once=ask.now)
            if not verdict.allowed:
                raise TooLittleNotice(**verdict.facts)
            until = datetime.fromisoformat(verdict.facts["by"])
            closures.close(session, uuid, CORDON, DRAIN, now, person.name, until=until, message=ask.message)
            closures.end_by(session, uuid, until, now, person.name)

        return await self._change(person, uuid, write) or self._gone(uuid)

    async def uncordon(self, person: Person, uuid: str) -> wire.Device | None:
        """Take it back into use, whatever closed it; None for one that is gone, which is forgotten with that.

        A fault that is still there closes it again with the next two looks. Ends that were moved stay moved.
        """
        person.need_admin()
        place = {device.uuid: device for device in (await self._inventory.look()).devices}
        there = uuid in place

        def write(session: Session, now: datetime) -> None:
            closures.lift(session, uuid, [FAULT, OUTSIDE, CORDON], now, person.name)
            pauses.end(session, uuid, now)
            row = session.get(SeenDevice, uuid)
            if not there and row is not None:
                session.delete(row)
                record(session, now, person.name, "device.forget", f"device:{uuid}")
            elif there:
                row = row or SeenDevice(uuid=uuid, facts=facts_of(place[uuid]), seen_at=now)
                session.add(row)
                row.cleared_at = now

        self._before = None
        return await self._change(person, uuid, write)

    def _gone(self, uuid: str) -> wire.Device:
        raise NoSuchGpu(device=uuid)

    async def _change(
        self, person: Person, uuid: str, write: Callable[[Session, datetime], None]
    ) -> wire.Device | None:
        person.need_admin()
        place = {device.uuid: device for device in (await self._inventory.look()).devices}

        def run(session: Session) -> wire.Device | None:
            device = place.get(uuid) or remembered(session).get(uuid)
            if device is None:
                raise NoSuchGpu(device=uuid)
            write(session, self._clock())
            session.flush()
            gone = uuid not in place and session.get(SeenDevice, uuid) is None
            return None if gone else on_wire(session, device, closures.of(session, uuid))

        found = await self._store.run(run)
        self.changed()
        return found


def _looked(health: Health, missing: set[str]) -> Looked:
    faults = {(one.device, one.code): one for one in health.faults}
    faults |= {(uuid, LOST): Fault(uuid, LOST) for uuid in missing}
    return Looked(faults, frozenset(uuid for uuid, others in health.outsiders.items() if others))


def _any_outside(session: Session) -> bool:
    return session.scalar(select(Closure.device).where(Closure.kind == OUTSIDE).limit(1)) is not None


def on_wire(session: Session, device: Device, rows: Sequence[Closure]) -> wire.Device:
    """A GPU with what closes it, the weightiest of several."""
    held = [lease.id for lease in closures.holding(session, device.uuid)]
    told = told_of(rows, held=bool(held))
    return wire.Device(uuid=device.uuid, name=device.name, node=device.node, holders=held, **told)


def told_of(rows: Sequence[Closure], *, held: bool) -> dict[str, Any]:
    """What is said of a GPU that these rows close, by the fields of `wire.Device`."""
    state = state_of([(row.kind, row.code) for row in rows], held=held)
    by_kind = {row.kind: row for row in rows}
    first = next((by_kind[kind] for kind in (FAULT, CORDON, OUTSIDE) if kind in by_kind), None)
    if first is None:
        return {"state": str(state)}
    why = {FAULT: device_words.fault(first.code, first.facts), OUTSIDE: device_words.outside()}
    cordon, outside = by_kind.get(CORDON), by_kind.get(OUTSIDE)
    return {
        "state": str(state),
        "code": first.code,
        "why": why.get(first.kind),
        "since": first.since,
        "until": cordon.until if cordon else None,
        "message": cordon.message if cordon else None,
        "by": first.by,
        "outsiders": [wire.Outsider(**one) for one in outside.facts.get("processes", ())] if outside else [],
    }


def _nothing() -> None:
    return None

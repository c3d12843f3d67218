"""GPUs that were there once, so that one that falls off the bus is missed, and keeps its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dure_hub.backends.base import Device, Inventory
from dure_hub.store.models import Closure, SeenDevice

MOST = 2000
"""So many are kept in mind; of a fleet larger than that, which is a simulated one, the first."""
_KEPT = ("uuid", "name", "memory_mb", "node", "pci_device", "key", "mig_mode", "group")


def remembered(session: Session) -> dict[str, Device]:
    """All of them, by UUID."""
    rows = session.scalars(select(SeenDevice).order_by(SeenDevice.seen_at, SeenDevice.uuid))
    return {row.uuid: _device(row.facts) for row in rows if row.facts}


def remember(session: Session, devices: Iterable[Device], now: datetime) -> None:
    """Keep these in mind from now on."""
    room = MOST - (session.scalar(select(func.count()).select_from(SeenDevice)) or 0)
    for device in devices:
        row = session.get(SeenDevice, device.uuid)
        facts = facts_of(device)
        if row is not None:
            row.facts = facts
        elif room > 0:
            room -= 1
            session.add(SeenDevice(uuid=device.uuid, facts=facts, seen_at=now))


def forget_elsewhere(session: Session, nodes: Set[str]) -> None:
    """Forget what was on nodes that are not there: another fleet was simulated, or one before a real one."""
    for row in session.scalars(select(SeenDevice)):
        if row.facts and row.facts.get("node") not in nodes:
            session.execute(delete(Closure).where(Closure.device == row.uuid))
            session.delete(row)


def facts_of(device: Device) -> dict[str, Any]:
    """What is kept of it."""
    return {name: getattr(device, name) for name in _KEPT}


def lost(session: Session) -> dict[str, Device]:
    """Those that are known to be lost: with a fault for that, whatever the next look says."""
    gone = select(Closure.device).where(Closure.code == "lost")
    rows = session.scalars(select(SeenDevice).where(SeenDevice.uuid.in_(gone)))
    return {row.uuid: _device(row.facts) for row in rows if row.facts}


def with_lost(place: Inventory, missing: Mapping[str, Device]) -> Inventory:
    """A place with the GPUs that it has lost, each on its node: they are closed, but part of what it has."""
    there = {device.uuid for device in place.devices}
    gone = [device for uuid, device in missing.items() if uuid not in there]
    if not gone:
        return place
    nodes = [
        replace(node, devices=(*node.devices, *(one for one in gone if one.node == node.name)))
        for node in place.by_node()
    ]
    whole = Inventory.of(nodes, why_no_gpu=None, simulated=place.simulated)
    # a place of one node without a name has its own cores and memory
    return replace(whole, cpu_cores=place.cpu_cores, memory_mb=place.memory_mb, nodes=nodes if place.nodes else ())


def _device(facts: Mapping[str, object]) -> Device:
    return Device(**{name: facts.get(name) for name in _KEPT})  # type: ignore[arg-type]

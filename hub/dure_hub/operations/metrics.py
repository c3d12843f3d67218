"""What monitoring reads, as numbers: from the same picture of the GPUs that people see. The unknown is absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations.budgets import Budgets
from dure_hub.operations.gpus import Gpus, Picture, is_held
from dure_hub.operations.people import Person
from dure_hub.operations.quotas import Quotas
from dure_hub.policies import classes
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease, Ticket

MICRO = 1_000_000
_EVERYTHING = Person("", admin=True)
"""Who passed the guard reads the whole."""


@dataclass(frozen=True)
class Gauge:
    """One figure with its values by labels; `help` is a sentence that says the unit."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Sequence[tuple[tuple[str, ...], float]]


class Metrics:
    """Collects everything at once."""

    def __init__(self, store: Store, clock: Clock, gpus: Gpus, quotas: Quotas, budgets: Budgets) -> None:
        self._store, self._clock, self._gpus = store, clock, gpus
        self._quotas, self._budgets = quotas, budgets

    async def collect(self) -> list[Gauge]:
        """Every gauge; one without values says that nothing is known."""
        picture = await self._gpus.picture()
        now = self._clock()
        queue, costs = await self._store.read(lambda session: (_queue(session, now), _costs(session)))
        quotas = await self._quotas.ratios()
        budgets = [((one.kind, one.name), one.spent / one.amount) for one in await self._budgets.list(_EVERYTHING)]
        simulated = float(picture.look.inventory.simulated)
        return [
            Gauge("dure_simulated", "1 if these GPUs are not really there.", (), [((), simulated)]),
            *_devices(picture),
            _mig(picture),
            Gauge(
                "gpu_hourly_cost",
                "Money an hour for the GPUs held now; leases at an unknown rate are not in it.",
                ("team", "project"),
                costs,
            ),
            *queue,
            Gauge(
                "dure_quota_use_ratio", "Use of a limit, from 0; 1 is all of it.", ("kind", "name", "what"), quotas
            ),
            Gauge("dure_budget_use_ratio", "Part of this month's budget spent.", ("kind", "name"), budgets),
        ]


def _devices(picture: Picture) -> Iterator[Gauge]:
    """Readings of whole GPUs, each only where its driver says it."""
    labels = ("uuid", "model", "node")
    rows = [
        ((device.uuid, device.name, device.node), picture.readings[device.uuid])
        for device in picture.look.inventory.devices
    ]
    kinds = {
        "gpu_utilization": ("Share of time in which it worked, from 0 to 1.", "utilisation", 1),
        "gpu_temperature": ("Degrees Celsius.", "temperature_c", 1),
        "gpu_power": ("Watts.", "power_w", 1),
        "gpu_memory_used_bytes": ("Bytes of its memory in use.", "memory_used_mb", 1 << 20),
    }
    for name, (text, field, factor) in kinds.items():
        values = [
            (key, float(value) * factor) for key, reading in rows if (value := getattr(reading, field)) is not None
        ]
        yield Gauge(name, text, labels, values)


def _mig(picture: Picture) -> Gauge:
    """Of the MIG instances there are (or are just being made for somebody), how many are held."""
    there: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for device in picture.look.inventory.devices:
        parts = picture.parts.get(device.uuid, ())
        for one in device.instances:
            there[one.profile or "unknown"] += 1
            held[one.profile or "unknown"] += bool(one.barred) or is_held(one, parts)
        for part in parts:
            if part.mig is not None and not any(is_held(one, [part]) for one in device.instances):
                there[part.mig] += 1
                held[part.mig] += 1
    values = [((name,), held[name] / number) for name, number in sorted(there.items())]
    return Gauge("mig_allocation_ratio", "Held MIG instances, of those there are.", ("profile",), values)


def _queue(session: Session, now: datetime) -> list[Gauge]:
    """How many wait in each class, and for how long the oldest of it has."""
    rows = session.execute(select(Ticket.queue_class, Ticket.asked_at).where(Ticket.state == "waiting"))
    asked: dict[int, list[datetime]] = {number: [] for number in range(len(classes.NAMES))}
    for queue_class, at in rows:
        asked[queue_class].append(at)
    lengths = [((classes.NAMES[number],), float(len(times))) for number, times in asked.items()]
    waits = [
        ((classes.NAMES[number],), max((now - min(times)).total_seconds(), 0.0))
        for number, times in asked.items()
        if times
    ]
    return [
        Gauge("dure_queue_length", "Requests that wait.", ("class",), lengths),
        Gauge("dure_queue_wait_seconds", "How long the oldest of them has waited.", ("class",), waits),
    ]


def _costs(session: Session) -> Sequence[tuple[tuple[str, ...], float]]:
    query = select(Lease.team, Lease.project, Lease.rate).where(
        Lease.ended_at.is_(None), Lease.parent.is_(None), Lease.gpus > 0, Lease.rate.is_not(None)
    )
    sums: dict[tuple[str, ...], int] = {}
    for team, project, rate in session.execute(query):
        key = (team or "", project or "")
        sums[key] = sums.get(key, 0) + (rate or 0)
    return [(key, rate / MICRO) for key, rate in sorted(sums.items())]

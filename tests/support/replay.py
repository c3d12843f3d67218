"""A small mixed fleet, and what was held of it at each commit, told from the events alone.

The rules are written here once more, plainly and without the placement's own code: that is what is tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from dure_hub.catalogue.machine import Gpu, Machine
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations.profiles import Fleet, Rules
from dure_hub.store import Store
from dure_hub.store.models import Event, Lease

GRID = MigGrid(
    "A100",
    8,
    (
        MigProfile("1g.10gb", 19, 1, 1, (0, 1, 2, 3, 4, 5, 6), 7),
        MigProfile("2g.20gb", 14, 2, 2, (0, 2, 4), 3),
        MigProfile("3g.40gb", 9, 3, 4, (0, 4), 2),
        MigProfile("7g.80gb", 0, 7, 8, (0,), 1),
    ),
)
WHOLE, CUT, SHARED = "NVIDIA H100", "NVIDIA A100", "NVIDIA L4"
MACHINES = (
    Machine(
        8,
        8192,
        (Gpu("h0", WHOLE, group="a"), Gpu("h1", WHOLE, group="a"), Gpu("m0", CUT, grid=GRID, dynamic=True)),
        "one",
        kept=0.75,
    ),
    Machine(6, 6144, (Gpu("h2", WHOLE), Gpu("s0", SHARED, replicas=3)), "two", kept=0.75),
)
LIFE = {"default_lifetime_s": 3600, "max_lifetime_s": 86400}


def _profile(name: str, cores: float, memory_mb: int, **more: Any) -> ProfileSpec:
    return ProfileSpec(name, {}, {}, cores, memory_mb, **{**LIFE, **more})


PROFILES = {
    one.name: one
    for one in (
        _profile("whole", 2, 2048, gpus=1, gpu_model=WHOLE, rate=8_000_000),
        _profile("pair", 4, 4096, gpus=2, gpu_model=WHOLE, rate=16_000_000),
        _profile("small", 0.25, 256, gpu_model=CUT, mig="1g.10gb", rate=850_000),
        _profile("half", 0.75, 768, gpu_model=CUT, mig="3g.40gb", rate=2_570_000),
        _profile("share", 0.5, 512, gpu_model=SHARED, share=333, sharing="time-slice", rate=None),
        _profile("cpu", 0.5, 512, rate=0),
    )
}
FLEET = Fleet(PROFILES, MACHINES, Rules(borrowing=False))
COUNTED = {"whole": 1000, "pair": 2000, "small": 142, "half": 500, "share": 333, "cpu": 0}
"""What one holder counts against a quota, in thousandths of GPUs."""
QUOTAS = {("team", "red"): 2, ("team", "blue"): 3, ("user", "*"): 2}
"""GPUs at once; less than there are for who comes with a team, or as one of many."""


@dataclass
class Picture:
    """Who holds what. `overshoot` is what is held more often than it is there, in words; empty is right."""

    machines: Sequence[Machine] = MACHINES
    leases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    counted: dict[str, tuple[str, str | None, str]] = field(default_factory=dict)
    """Owner, team and profile by lease."""

    def beyond_quota(self) -> list[str]:
        """Whoever holds more GPUs than their quota."""
        held: Counter[tuple[str, str]] = Counter()
        for lease in self.leases:
            owner, team, profile = self.counted[lease]
            held["user", owner] += COUNTED[profile]
            if team is not None:
                held["team", team] += COUNTED[profile]
        limits = {who: QUOTAS.get(who, QUOTAS.get((who[0], "*"), 1000)) for who in held}
        return [f"{who}: {held[who]} of {1000 * limits[who]}" for who in held if held[who] > 1000 * limits[who]]

    def overshoot(self) -> list[str]:
        """Everything that is promised twice."""
        pieces = [piece for held in self.leases.values() for piece in held]
        found: list[str] = []
        for machine in self.machines:
            here = [piece for piece in pieces if piece["node"] == machine.name]
            cores, memory_mb = sum(one["cpu_cores"] for one in here), sum(one["memory_mb"] for one in here)
            if cores > machine.cores or memory_mb > machine.memory_mb:
                found.append(f"{machine.name}: {cores} cores, {memory_mb} MiB")
            for gpu in machine.gpus:
                held = [piece for piece in here if piece["device"] == gpu.uuid]
                found += [f"{gpu.uuid}: {why}" for why in _device(gpu, held)]
        known = {(one.name, gpu) for one in self.machines for gpu in ("cpu", *(gpu.uuid for gpu in one.gpus))}
        found += [f"nowhere: {piece}" for piece in pieces if (piece["node"], piece["device"]) not in known]
        return found


def _device(gpu: Gpu, held: Sequence[dict[str, Any]]) -> Iterator[str]:
    if gpu.grid is not None:
        units: Counter[int] = Counter()
        for piece in held:
            profile = gpu.grid.named(str(piece.get("mig")))
            if profile is None or piece["start"] not in profile.starts:
                yield f"{piece.get('mig')} cannot start at {piece.get('start')}"
            else:
                units.update(range(piece["start"], piece["start"] + profile.size))
        yield from (f"memory unit {unit} is held {times} times" for unit, times in units.items() if times > 1)
    elif gpu.replicas:
        if len(held) > gpu.replicas or sum(piece.get("share", 1000) for piece in held) > 1000:
            yield f"{len(held)} shares"
    elif len(held) > 1 or any("share" in piece or "mig" in piece for piece in held):
        yield f"{len(held)} holders"


@dataclass
class Replay:
    """The events, applied one by one. What contradicts itself raises `AssertionError`."""

    picture: Picture = field(default_factory=Picture)
    tickets: dict[str, str] = field(default_factory=dict)
    """State by ticket: waiting, or what became of it."""
    granted: dict[str, str] = field(default_factory=dict)
    """Lease by ticket."""
    ended: set[str] = field(default_factory=set)
    moved: Counter[str] = field(default_factory=Counter)
    """How often each lease's end was moved."""

    def apply(self, event: Event) -> None:
        """One event. Those of other things are passed over."""
        kind, _, thing = event.object.partition(":")
        action = getattr(self, f"_{event.verb.replace('.', '_')}", None)
        if kind == "ticket" and action is None:
            assert self.tickets[thing] == "waiting", f"{event.verb} of a ticket that is {self.tickets[thing]}"
            self.tickets[thing] = event.verb.partition(".")[2]
        elif action is not None:
            action(thing, event)

    def _ticket_ask(self, ticket: str, event: Event) -> None:
        assert ticket not in self.tickets, f"asked twice: {ticket}"
        self.tickets[ticket] = "waiting"

    def _lease_grant(self, lease: str, event: Event) -> None:
        facts = event.verdict["facts"]
        ticket = facts["ticket"]
        assert self.tickets.get(ticket) == "waiting", f"granted while {self.tickets.get(ticket)}: {ticket}"
        assert lease not in self.picture.leases, f"granted twice: {lease}"
        self.tickets[ticket], self.granted[ticket] = "granted", lease
        self.picture.leases[lease] = facts["slices"]
        self.picture.counted[lease] = str(event.on_behalf_of), facts["team"], facts["profile"]

    def _lease_end(self, lease: str, event: Event) -> None:
        assert lease not in self.ended, f"ended twice: {lease}"
        del self.picture.leases[lease]
        self.ended.add(lease)

    def _lease_extend(self, lease: str, event: Event) -> None:
        assert lease in self.picture.leases, f"extended after its end: {lease}"
        self.moved[lease] += 1


def active(session: Session) -> Picture:
    """What the rows say is held now."""
    rows = session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all()
    return Picture(
        leases={row.id: row.slices for row in rows},
        counted={row.id: (row.owner, row.team, row.profile) for row in rows},
    )


def in_commit_order(store: Store) -> list[list[Event]]:
    """The events of each transaction, in the order in which they committed.

    Writers stand in line. So SQLite's row ids, and the transaction ids that PostgreSQL gives at the first write,
    come in this order; times and ULIDs are made before and need not. SQLite does not tell transactions apart:
    there each event stands for itself, which asks for more.
    """
    postgres = store.engine.dialect.name == "postgresql"
    order = text("SELECT id, xmin::text::bigint FROM events" if postgres else "SELECT id, rowid FROM events")
    with store.reading() as session:
        rows = session.execute(order).all()
        events = {event.id: event for event in session.scalars(select(Event)).all()}
    transactions: dict[int, list[Event]] = {}
    for key, number in rows:
        transactions.setdefault(number, []).append(events[key])
    return [sorted(transactions[number], key=_within) for number in sorted(transactions)]


def _within(event: Event) -> int:
    """Inside one transaction: asked before granted; its end counts when it commits."""
    verbs = ["ticket.ask", "lease.end", "lease.grant"]
    return verbs.index(event.verb) if event.verb in verbs else len(verbs)

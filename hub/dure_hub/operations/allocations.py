"""GPU memory for pods that something else runs: a ticket and a lease like any other, in the words of `/gpu/…`."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from dure.errors import NotFound
from dure.wire.gpu import Allocation, AllocationRequest
from dure.wire.ids import new_id
from dure_hub.catalogue.mig import named_gb
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import admission, lifetimes, line, reasons
from dure_hub.operations.allocation_runs import ALLOCATION, AllocationRuns, is_made
from dure_hub.operations.errors import NeverFits, NotInPool
from dure_hub.operations.gpu_errors import NoGpuOfKind, NoGpuSoLarge
from dure_hub.operations.gpus import listed
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles, is_for
from dure_hub.policies import classes
from dure_hub.policies.lifetime import bounds
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease, Ticket

CLASSES: Mapping[str, int] = {
    "notebook": classes.INTERACTIVE,
    "fine-tuning": classes.INTERACTIVE,
    "training": classes.TRAINING,
    "inference": classes.INFERENCE,
    "urgent-inference": classes.URGENT_INFERENCE,
}
"""The queue's class of each workload type."""
LIMIT = 1000
_WORDS = {
    True: {"en": "MIG instance", "ko": "MIG 인스턴스"},
    False: {"en": "GPU", "ko": "GPU"},
}
_STATES = {"cancelled": "cancelled", "refused": "refused", "expired": "waited_too_long"}
"""Why a ticket has ended, by its state."""


class Allocations:
    """Asks, looks at and gives back."""

    def __init__(self, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._store, self._clock, self._profiles = store, clock, profiles
        self.subject = AllocationRuns(store, clock, profiles)
        """For the reconciler."""

    async def request(self, person: Person, ask: AllocationRequest) -> Allocation:
        """Ask for a pod. The same pod of the same person is one request for as long as it waits or holds.

        Raises `NoGpuSoLarge`, `NoGpuOfKind`, `BadLifetime`, `LifetimeOverLimit`, `NotYourTeam`, and what `admit`
        raises.
        """
        fleet = await self._profiles.fleet()
        team, subject = charged(person, ask.team), f"{ask.namespace}/{ask.pod_name}"

        def write(session: Session) -> tuple[str, bool]:
            own = _live(select(Ticket)).where(Ticket.owner == person.name, Ticket.subject == subject)
            known = session.scalars(own).first()
            if known is not None:
                return known.id, False
            ticket_id = new_id()
            got = self._admit(session, ask, person, team, subject, ticket_id, fleet)
            return ticket_id, isinstance(got, Lease) and not is_made(got, fleet.instances)

        ticket_id, unmade = await self._store.run(write)
        if unmade:
            await self._make(ticket_id)
            fleet = await self._profiles.fleet()
        return await self._shown(ticket_id, fleet)

    async def list(
        self,
        person: Person,
        *,
        everyone: bool = False,
        active: bool = False,
        limit: int = 200,
        team: str | None = None,
    ) -> builtins.list[Allocation]:
        """Your allocations, the newest first; all for administrators; a team's for its leads.

        With `active`, none that are over.
        """
        if everyone:
            person.need_admin()
        if team is not None:
            person.need_lead(team)
        fleet = await self._profiles.fleet()

        def read(session: Session) -> builtins.list[Allocation]:
            query: Select[Any] = select(Ticket).where(Ticket.purpose == ALLOCATION)
            query = _live(query) if active else query
            if team is not None:
                query = query.where(Ticket.team == team)
            elif not everyone:
                query = query.where(Ticket.owner == person.name)
            rows = session.scalars(query.order_by(Ticket.asked_at.desc(), Ticket.id.desc()).limit(limit)).all()
            return on_wire(session, rows, fleet, self._clock())

        return await self._store.read(read)

    async def get(self, person: Person, ticket_id: str) -> Allocation:
        """One of yours; anybody's for administrators. Raises `NotFound`."""
        await self._store.read(lambda session: _own(session, person, ticket_id))
        return await self._shown(ticket_id, await self._profiles.fleet())

    async def release(self, person: Person, ticket_id: str) -> None:
        """Give it back, or leave the queue. What is over already is no error. Raises `NotFound`.

        Whoever says so sees to it that the pod is gone: its GPU goes to the next at once.
        """

        def write(session: Session) -> None:
            ticket, now = _own(session, person, ticket_id), self._clock()
            admission.cancel(session, ticket.id, "cancelled", now, person.name)
            if ticket.lease_id is not None:
                reason = reasons.ended_by(person, ticket.owner, None) or "asked"
                admission.end_lease(session, ticket.lease_id, reason, now, person.name)

        await self._store.run(write)
        self.subject.kick()

    def _admit(
        self,
        session: Session,
        ask: AllocationRequest,
        person: Person,
        team: str | None,
        subject: str,
        ticket_id: str,
        fleet: Fleet,
    ) -> Lease | Ticket:
        """Admit it on the first profile, from the cheapest on, that its nodes could ever give it."""
        problem: NotInPool | NeverFits | None = None
        theirs = [one for one in fleet.profiles.values() if is_for(one, person)]
        for spec in fitting(theirs, ask.use_mig, ask.required_memory_gb):
            try:
                return admission.admit(
                    session,
                    ticket_id=ticket_id,
                    owner=person.name,
                    purpose=ALLOCATION,
                    subject=subject,
                    profile=spec.name,
                    lifetime_s=_lifetime(session, ask, spec, fleet, person.name, team),
                    now=self._clock(),
                    fleet=fleet,
                    team=team,
                    project=ask.project,
                    queue_class=CLASSES[ask.workload_type],
                )
            except (NotInPool, NeverFits) as error:  # nothing was written
                problem = problem or error
        assert problem is not None  # noqa: S101 - there is one profile at least
        raise problem

    async def _make(self, ticket_id: str) -> None:
        lease = await self._store.read(lambda session: session.get_one(Ticket, ticket_id).lease_id)
        if lease is not None:
            await self.subject.make(lease)

    async def _shown(self, ticket_id: str, fleet: Fleet) -> Allocation:
        def read(session: Session) -> Allocation:
            return on_wire(session, [session.get_one(Ticket, ticket_id)], fleet, self._clock())[0]

        return await self._store.read(read)


def fitting(profiles: Iterable[ProfileSpec], use_mig: bool, required_gb: float | None) -> list[ProfileSpec]:
    """Profiles with so much GPU memory in one piece, the cheapest first, then the smallest, then those without
    media engines and the like: of these a GPU has few, and who says nothing needs none.

    An unknown price comes last, and unknown memory is not enough for anybody who says how much. Raises
    `NoGpuSoLarge`, and `NoGpuOfKind` where any amount would do.
    """
    kind = [one for one in profiles if (one.mig is not None if use_mig else one.gpus == 1 or one.share)]
    if required_gb is None and not kind:
        raise NoGpuOfKind(what=_WORDS[use_mig])
    sizes = {one.name: _gb(one) for one in kind}
    found = [one for one in kind if required_gb is None or _covers(sizes[one.name], required_gb)]
    if not found:
        largest = sorted(kind, key=lambda one: (-(sizes[one.name] or 0.0), one.name))
        names = listed([f"{one.name} ({_said(sizes[one.name])})" for one in largest]) or "-"
        raise NoGpuSoLarge(asked_gb=required_gb, what=_WORDS[use_mig], offered=names)

    def order(one: ProfileSpec) -> tuple[object, ...]:
        size, special = sizes[one.name], one.mig is not None and not one.mig.endswith("gb")
        return one.rate is None, one.rate or 0, size is None, size or 0.0, special, one.name

    return sorted(found, key=order)


def on_wire(session: Session, tickets: Iterable[Ticket], fleet: Fleet, now: datetime) -> list[Allocation]:
    """Allocations as people see them; the line is read once for all of them."""
    rows = list(tickets)
    ids = [ticket.lease_id for ticket in rows if ticket.lease_id]
    leases = {lease.id: lease for lease in session.scalars(select(Lease).where(Lease.id.in_(ids)))}
    shown = {ticket.id: _on_wire(ticket, leases.get(ticket.lease_id or ""), fleet.instances) for ticket in rows}
    waiting = [ticket for ticket in rows if ticket.state == "waiting"]
    if waiting:
        queued = line.read(session, fleet, now)
        starts, board = queued.expected(), queued.board()
        places = queued.places()
        for ticket in waiting:
            told = {
                "position": places.get(ticket.id),
                "expected_start": starts.get(ticket.id),
                "next_best": board.next_best(
                    ticket.profile, fleet.named(ticket.profile), line.wish_of(session, ticket, fleet)
                ),
            }
            shown[ticket.id] = shown[ticket.id].model_copy(update=told)
    return list(shown.values())


def _on_wire(ticket: Ticket, lease: Lease | None, there: Collection[str]) -> Allocation:
    namespace, _, pod = ticket.subject.partition("/")
    state, reason = ticket.state, _STATES.get(ticket.state)
    if lease is not None:
        state = "ended" if lease.ended_at is not None else "active" if is_made(lease, there) else "preparing"
        reason = lease.end_reason
    return Allocation(
        id=ticket.id,
        namespace=namespace,
        pod_name=pod,
        owner=ticket.owner,
        team=ticket.team,
        project=ticket.project,
        state=state,
        queue_class=classes.NAMES[ticket.queue_class],
        profile=ticket.profile,
        verdict=ticket.verdict,
        reason=reasons.both(reason),
        lease=ticket.lease_id,
        devices=list(admission.visible(lease)) if lease is not None and state == "active" else [],
        rate=lease.rate if lease is not None else None,
        asked_at=ticket.asked_at,
        granted_at=lease.granted_at if lease is not None else None,
        until=lease.until if lease is not None else None,
        ended_at=lease.ended_at if lease is not None else (ticket.decided_at if reason else None),
    )


def _live(query: Select[Any]) -> Select[Any]:
    """Those of the tickets that wait or hold."""
    return query.outerjoin(Lease, Lease.id == Ticket.lease_id).where(
        Ticket.purpose == ALLOCATION,
        or_(Ticket.state == "waiting", and_(Ticket.state == "granted", Lease.ended_at.is_(None))),
    )


def _own(session: Session, person: Person, ticket_id: str) -> Ticket:
    ticket = session.get(Ticket, ticket_id)
    if ticket is None or ticket.purpose != ALLOCATION or not person.may_see(ticket.owner, ticket.team):
        raise NotFound(kind="allocation", name=ticket_id)
    return ticket


def _lifetime(
    session: Session, ask: AllocationRequest, spec: ProfileSpec, fleet: Fleet, owner: str, team: str | None
) -> int:
    """A notebook's pod is a server; what else runs in one is work, which may run as long on any profile."""
    if ask.workload_type == "notebook":
        return lifetimes.seconds_of(session, ask.lifetime, spec, owner, team)
    return lifetimes.within(ask.lifetime, bounds(spec.default_lifetime_s, fleet.rules.longest_work_s))


def _gb(spec: ProfileSpec) -> float | None:
    """What it has, in 10^9 bytes. A MIG profile has what its name says, which its driver may show as less."""
    said = named_gb(spec.mig) if spec.mig is not None else None
    seen = None if spec.gpu_memory_mb is None else spec.gpu_memory_mb * (1 << 20) / 1e9
    return max((one for one in (said, seen) if one is not None), default=None)


def _covers(gb: float | None, needed: float) -> bool:
    return gb is not None and gb >= needed


def _said(gb: float | None) -> str:
    return "?" if gb is None else f"{gb:.1f} GB"

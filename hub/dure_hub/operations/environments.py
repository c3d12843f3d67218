"""Servers of people. The portal asks the hub, the hub asks the spawner, and the spawner claims the lease here.

`request`, `list`, `get`, `extend`, `stop` are for people; `claim`, `save_handle` and `ended` are for the spawner,
in the hub's process. The spawner never waits: without room it gets `MustWait`, and the ticket that was left is
granted later by the reconciler, which asks the hub then (`environment_runs`).
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import DureError, NotFound, NotRunning
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind
from dure_hub.operations import admission, budgets, people, reasons
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.carving import Carve, as_it_is
from dure_hub.operations.environment_runs import EnvironmentRuns, thing
from dure_hub.operations.errors import BadLifetime, EndTooEarly, EndTooLate, MustWait, StillEnding
from dure_hub.operations.money_errors import over_budget
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.policies import lifetime
from dure_hub.policies.cost import month
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Environment, Lease, Ticket

_REFUSED: Mapping[str, type[DureError]] = {"end_too_early": EndTooEarly, "end_too_late": EndTooLate}
_FALLBACK = "cpu"
"""The profile of a start straight through the hub that names none and has none to repeat."""


@dataclass(frozen=True)
class Grant:
    """What the spawner needs of a claimed lease: `devices` are UUIDs of GPUs, `mps` as in `Work`."""

    lease: str
    profile: wire.Profile
    devices: tuple[str, ...]
    until: datetime | None
    mps: tuple[int, int | None] | None = None


class Environments:
    """Everything one can do with servers."""

    def __init__(self, store: Store, clock: Clock, profiles: Profiles, runs: EnvironmentRuns) -> None:
        self.runs = runs
        self.carve: Carve = as_it_is
        """Makes the MIG instances of a lease; the carver's own, once there is one."""
        self._store = store
        self._clock = clock
        self._profiles = profiles

    async def request(self, person: Person, ask: wire.EnvironmentRequest) -> wire.Environment:
        """Ask for a server: with room it gets a lease and starts in the background, else it waits.

        The same id is one request; a name that already waits, starts or runs is answered with as it is.
        """
        fleet = await self._profiles.fleet()
        seconds, team = _lifetime(ask.lifetime_s, ask.profile, fleet), charged(person, ask.team)

        def write(session: Session) -> tuple[wire.Environment, Lease | None]:
            now = self._clock()
            row = rows.find(session, person.name, ask.name)
            known = session.get(Ticket, ask.id)
            if known is not None and row is not None and known.subject == row.id:
                return self._shown(session, row, fleet, now), None
            if row is not None and row.phase == rows.STOPPING:
                raise StillEnding(name=ask.name)
            if row is not None and row.phase in rows.ALIVE:
                return self._shown(session, row, fleet, now), None
            row = _row(session, row, person.name, ask.name, ask.profile, now)
            record(session, now, person.name, "environment.request", thing(row))
            lease = _ask(session, row, ask.id, seconds, fleet, now, team, ask.project)
            return self._shown(session, row, fleet, now), lease

        answer, lease = await self._store.run(write)
        if lease is not None:
            self.runs.start(person.name, ask.name, ask.profile, lease.id)
        return answer

    async def list(
        self, person: Person, everyone: bool = False, active: bool = False
    ) -> builtins.list[wire.Environment]:
        """Your environments; everybody's for administrators. The latest asked for first.

        With `active`, none of those that have ended.
        """
        if everyone:
            person.need_admin()
        fleet = await self._profiles.fleet()

        def read(session: Session) -> builtins.list[wire.Environment]:
            query = select(Environment).order_by(Environment.asked_at.desc())
            if not everyone:
                query = query.where(Environment.owner == person.name)
            if active:
                query = query.where(Environment.phase.in_(sorted(rows.ALIVE)))
            now = self._clock()
            return [self._shown(session, row, fleet, now) for row in session.scalars(query).all()]

        return await self._store.read(read)

    async def get(self, person: Person, name: str, owner: str | None = None) -> wire.Environment:
        """One environment; somebody else's for administrators."""
        person.may_act_for(owner or person.name)
        fleet = await self._profiles.fleet()

        def read(session: Session) -> wire.Environment:
            row = _existing(session, owner or person.name, name)
            return self._shown(session, row, fleet, self._clock())

        return await self._store.read(read)

    async def extend(
        self, person: Person, name: str, ask: wire.ExtendRequest, owner: str | None = None
    ) -> wire.Environment:
        """Move the end of a server that starts or runs; somebody else's for administrators.

        An end that is set already changes nothing; moving it counts as use.
        Raises `NotRunning`, `EndTooEarly`, `EndTooLate`, `OverBudget`; `NoSuchProfile` where its profile is gone.
        """
        person.may_act_for(owner or person.name)
        fleet = await self._profiles.fleet()

        def write(session: Session) -> wire.Environment:
            now = self._clock()
            row = _existing(session, owner or person.name, name)
            lease = rows.extendable(session, row)
            if lease is None or lease.until is None:
                raise NotRunning(name=name, phase=row.phase)
            longest_s = fleet.profile(lease.profile).max_lifetime_s
            verdict = lifetime.extension(ask.until, lease.until, max_s=longest_s, now=now)
            if not verdict.allowed:
                raise _REFUSED[verdict.code](**verdict.facts)
            if verdict.code == "end_moved":
                _pay_for(session, lease, ask.until, now)
                lease.until = ask.until.astimezone(UTC)
                lease.renewals += 1
                row.active_at = now  # whoever wants it longer has a use for it
                facts = verdict.to_json()
                record(session, now, person.name, "environment.extend", thing(row), facts, _behalf(person, row))
            return self._shown(session, row, fleet, now)

        return await self._store.run(write)

    async def stop(
        self,
        person: Person,
        name: str,
        reason: str = "asked",
        owner: str | None = None,
        why: str | None = None,
    ) -> wire.Environment:
        """Stop a server, or cancel its ticket; somebody else's for administrators, who may say `why`.

        Its owner reads that afterwards. What has stopped already is not an error.
        """
        person.may_act_for(owner or person.name)
        fleet = await self._profiles.fleet()

        def write(session: Session) -> tuple[wire.Environment, Lease | None]:
            now = self._clock()
            row = _existing(session, owner or person.name, name)
            for_owner = None if person.name == row.owner else reasons.stopped_by(person.name, why)
            changed = False
            if row.phase == rows.WAITING and row.ticket_id:
                admission.cancel(session, row.ticket_id, "cancelled", now, person.name)
                row.phase, row.reason = rows.STOPPED, for_owner or "cancelled"
                changed = True
            lease = rows.active_lease(session, row)
            if lease is not None:
                if admission.ask_end(session, lease, reason, now, person.name):
                    row.reason = for_owner
                    changed = True
                row.phase = rows.STOPPING
            if changed:  # asked twice is one change
                facts = {"code": reason, "why": why} if why else {"code": reason}
                record(session, now, person.name, "environment.stop", thing(row), facts, _behalf(person, row))
            return self._shown(session, row, fleet, now), lease

        answer, lease = await self._store.run(write)
        if lease is not None:
            await self.runs.withdraw(lease.id)
            self.runs.begin(lease.id, self.runs.stop(Handle(lease.id, Kind.SERVER, lease.handle), reason))
        return answer

    async def claim(
        self, owner: str, server_name: str, lease: str | None, profile: str | None, teams: Collection[str] = ()
    ) -> Grant:
        """The lease for a server that the hub starts now, taken once and by its owner.

        A lease that is spent or somebody else's counts as none. Without one it is admitted now, or leaves a ticket
        and raises `MustWait`; the owner's only team of `teams` pays. While its last server still ends, raises
        `StillEnding`.
        """
        team = people.only(teams)
        fleet = await self._profiles.fleet()
        name = server_name or "default"

        def write(session: Session) -> Lease | MustWait | StillEnding:
            now = self._clock()
            row = rows.find(session, owner, name)
            held = rows.active_lease(session, row) if row is not None else None
            if row is not None and held is not None:
                return _take(session, row, held, lease, now)
            if row is None or row.phase != rows.WAITING:
                wanted = profile or (row.profile if row is not None else _FALLBACK)
                row = _row(session, row, owner, name, wanted, now)
                record(session, now, owner, "environment.request", thing(row))
                granted = _ask(session, row, new_id(), _lifetime(None, wanted, fleet), fleet, now, team)
                if granted is not None:
                    return _take(session, row, granted, granted.id, now)
            ticket = self._shown(session, row, fleet, now).ticket
            position = ticket.position if ticket is not None else None
            return MustWait(profile=row.profile, position=position, page=rows.wait_page(name))

        taken = await self._store.run(write)  # raised only now: the ticket must stay
        if not isinstance(taken, Lease):
            raise taken
        taken.slices = await self.carve(taken.id) or taken.slices
        offered = await self._profiles.get(taken.profile)
        return Grant(taken.id, offered, admission.visible(taken), taken.until, admission.mps(taken))

    async def save_handle(self, handle: Handle) -> None:
        """Keep what is needed to stop a server; called for each handle its start yields."""

        def write(session: Session) -> None:
            session.get_one(Lease, handle.lease).handle = dict(handle.where)

        await self._store.run(write)

    async def ended(self, lease: str, reason: str) -> None:
        """The hub has stopped this server, or seen it end. Nothing of it runs any more."""

        def write(session: Session) -> None:
            row = admission.end_lease(session, lease, reason, self._clock())
            if row is not None:
                rows.settle(session, row, None)

        await self._store.run(write)

    def _shown(self, session: Session, row: Environment, fleet: Fleet, now: datetime) -> wire.Environment:
        return rows.on_wire(session, row, fleet, now, self.runs.idle_timeout_s)

    async def close(self) -> None:
        """Give up background work of this process."""
        await self.runs.close()


def _behalf(person: Person, row: Environment) -> str | None:
    return None if person.name == row.owner else row.owner


def _take(
    session: Session, row: Environment, held: Lease, offered: str | None, now: datetime
) -> Lease | StillEnding:
    """Claim the environment's active lease, whatever the caller offered.

    Claimed before, but with nothing started: the hub was killed in between, and its second start goes on.
    """
    again = held.claimed_at is not None and not held.handle and offered == held.id
    if held.end_reason is None and (held.claimed_at is None or again):
        held.claimed_at = held.claimed_at or now
        row.phase = rows.STARTING
        record(session, now, row.owner, "lease.claim", f"lease:{held.id}")
        return held
    # the hub starts what it holds for stopped, so whatever still runs there is out of its reach
    admission.ask_end(session, held, "replaced", now)
    row.phase = rows.STOPPING
    return StillEnding(name=row.name)


def _ask(
    session: Session,
    row: Environment,
    ticket_id: str,
    seconds: int,
    fleet: Fleet,
    now: datetime,
    team: str | None,
    project: str | None = None,
) -> Lease | None:
    got = admission.admit(
        session,
        ticket_id=ticket_id,
        owner=row.owner,
        purpose=admission.NOTEBOOK,
        subject=row.id,
        profile=row.profile,
        lifetime_s=seconds,
        now=now,
        fleet=fleet,
        team=team,
        project=project,
    )
    row.ticket_id = ticket_id
    if isinstance(got, Lease):
        rows.grant(row, got)
        return got
    row.phase, row.lease_id = rows.WAITING, None
    return None


def _row(
    session: Session, row: Environment | None, owner: str, name: str, profile: str, now: datetime
) -> Environment:
    if row is None:
        row = Environment(id=new_id(), owner=owner, name=name, profile=profile, phase=rows.WAITING, asked_at=now)
        session.add(row)
    row.profile, row.reason, row.asked_at = profile, None, now
    return row


def _existing(session: Session, owner: str, name: str) -> Environment:
    row = rows.find(session, owner, name)
    if row is None:
        raise NotFound(kind="environment", name=name)
    return row


def _pay_for(session: Session, lease: Lease, until: datetime, now: datetime) -> None:
    """Refuse what the budgets of its team and project do not pay for; what lies in the next month is its own."""
    end = month(now)[1]
    added = min(until, end) - min(max(lease.until or now, now), end)
    paid = budgets.check(
        session,
        team=lease.team,
        project=lease.project,
        rate=lease.rate,
        lifetime_s=int(added.total_seconds()),
        now=now,
    )
    if not paid.allowed:
        raise over_budget(paid)


def _lifetime(asked_s: int | None, profile: str, fleet: Fleet) -> int:
    spec = fleet.profile(profile)
    verdict, seconds = lifetime.lifetime(asked_s, default_s=spec.default_lifetime_s, max_s=spec.max_lifetime_s)
    if not verdict.allowed:
        raise BadLifetime(asked=asked_s, shortest=lifetime.SHORTEST_S, longest=spec.max_lifetime_s)
    return seconds

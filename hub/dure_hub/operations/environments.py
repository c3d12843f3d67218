"""Servers of people. The portal asks the hub, the hub asks the spawner, and the spawner claims the lease here.

`request`, `list`, `get`, `extend`, `stop` are for people; `claim`, `save_handle` and `ended` are for the spawner,
in the hub's process. The spawner never waits: without room it gets `MustWait`, and the ticket that was left is
granted later by the reconciler, which asks the hub then (`environment_runs`).
"""

from __future__ import annotations

import builtins
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import DureError, NotRunning
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, HeldBack, Kind, Seen
from dure_hub.operations import (
    admission,
    checks,
    closures,
    extending,
    images,
    lifetimes,
    login_rows,
    put_backs,
    stopping,
)
from dure_hub.operations import environment_asks as asks
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.carving import Carve, as_it_is
from dure_hub.operations.endings import end_told, still_ending
from dure_hub.operations.environment_asks import Wanted
from dure_hub.operations.environment_runs import EnvironmentRuns
from dure_hub.operations.errors import (
    MustWait,
    MustWaitForLimit,
    MustWaitForProfile,
    StillEnding,
)
from dure_hub.operations.grant import Grant as Grant
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.policies import refused
from dure_hub.store import Clock, Store
from dure_hub.store.events import on_behalf, record
from dure_hub.store.models import Environment, Lease, Ticket

_LOG_LENGTH = 4000
_FALLBACK = "cpu"
"""The profile of a start straight through the hub that names none and has none to repeat."""


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
        fleet = await self._profiles.fleet(person.name)
        spec, team = fleet.picked(ask.profile, person), charged(person, ask.team)
        image = images.picked(self.runs.settings, fleet, spec, person.teams, ask.image)

        def write(session: Session) -> tuple[wire.Environment, Lease | None]:
            now = self._clock()
            row = rows.find(session, person.name, ask.name)
            known = session.get(Ticket, ask.id)
            if known is not None and row is not None and known.subject == row.id:
                return self._shown(session, row, fleet, now), None
            seconds = lifetimes.seconds_of(session, ask.lifetime_s, spec, person.name, team)
            wanted = Wanted(ask.profile, seconds, team, ask.project, image)
            if row is not None and row.phase == rows.STOPPING:
                raise StillEnding(name=ask.name)
            if row is not None and row.phase in rows.ALIVE:
                return self._shown(session, row, fleet, now), None
            row = asks.row_of(
                session, row, person.name, ask.name, wanted, now, self.runs.settings.servers_per_person
            )
            lease = asks.ask(session, row, ask.id, wanted, fleet, now)
            return self._shown(session, row, fleet, now), lease

        try:
            answer, lease = await self._store.run(write)
        except StillEnding as error:
            raise await still_ending(self._store, self.runs.runs, person.name, ask.name) from error
        if lease is not None:
            self.runs.start(person.name, ask.name, ask.profile, lease.id)
        return answer

    async def list(
        self, person: Person, everyone: bool = False, active: bool = False, team: str | None = None
    ) -> builtins.list[wire.Environment]:
        """Your environments, the latest asked for first (with `active`, none of those that have ended).

        Everybody's for administrators; a team's for its leads."""
        if everyone:
            person.need_admin()
        if team is not None:
            person.need_lead(team)
        fleet = await self._profiles.fleet()

        def read(session: Session) -> builtins.list[wire.Environment]:
            query = select(Environment).order_by(Environment.asked_at.desc())
            if team is not None:
                query = query.join(Ticket, Ticket.id == Environment.ticket_id).where(Ticket.team == team)
            elif not everyone:
                query = query.where(Environment.owner == person.name)
            if active:
                query = query.where(Environment.phase.in_(sorted(rows.ALIVE)))
            now = self._clock()
            found = session.scalars(query).all()
            return [
                rows.told_to(person, self._shown(session, row, fleet, now, row.owner == person.name))
                for row in found
            ]

        return await self._store.read(read)

    async def get(self, person: Person, name: str, owner: str | None = None) -> wire.Environment:
        """One environment; others' for administrators and leads. The log of a failed start is its owner's."""
        fleet = await self._profiles.fleet()

        def read(session: Session) -> wire.Environment:
            row = rows.seen_by(session, person, owner, name)
            shown = rows.told_to(person, self._shown(session, row, fleet, self._clock(), row.owner == person.name))
            words = row.log_end if row.owner == person.name else None
            return shown.model_copy(update={"log_end": words})

        return await self._store.read(read)

    async def progress(self, person: Person, name: str, owner: str | None = None) -> wire.StartProgress:
        """How far its start is, as the hub says; somebody else's for administrators."""
        person.may_act_for(owner or person.name)

        def read(session: Session) -> tuple[str, str | None, str | None]:
            row = rows.existing(session, owner or person.name, name)
            address = (
                rows.url(row.owner, row.name, self.runs.subdomain_host) if row.phase == rows.RUNNING else None
            )
            return row.phase, row.lease_id, address

        phase, lease, address = await self._store.read(read)
        steps = self.runs.progress.of(lease) if lease is not None else ()
        return wire.StartProgress(
            phase=phase,
            url=address,
            percent=max((one.percent for one in steps if one.percent is not None), default=None),
            steps=[wire.StartStep(percent=one.percent, text=dict(one.text), at=one.at) for one in steps],
        )

    async def extend(
        self, person: Person, name: str, ask: wire.ExtendRequest, owner: str | None = None
    ) -> wire.Environment:
        """Move the end of a server that starts or runs; somebody else's for administrators.

        An end that is set already changes nothing; moving it counts as use. It must put off nobody who was
        promised a start, but where an administrator does it for somebody, which also
        calls off a stop that was set.
        Raises `NotRunning`, `EndTooEarly`, `EndTooLate`, `EndOverLimit`, `StopIsSet`, `OthersWait`, `OverBudget`;
        `NoSuchProfile` where its profile is gone.
        """
        person.may_act_for(owner or person.name)
        fleet = await self._profiles.fleet()

        def write(session: Session) -> wire.Environment:
            now = self._clock()
            row = rows.existing(session, owner or person.name, name)
            lease = rows.extendable(session, row)
            if lease is None or lease.until is None:
                raise NotRunning(name=name, phase=row.phase)
            login_rows.refuse_if_ending(session, row, lease)
            bounds = lifetimes.bounds_of(session, fleet.profile(lease.profile), row.owner, lease.team)
            verdict = lifetimes.judge_end(ask.until, lease.until, bounds, now)
            closures.need_before_drain(session, lease, ask.until)
            if verdict.code == "end_moved":
                stopping.moved(row, lease, person)
                if person.name == row.owner:
                    extending.leave_room(session, lease, ask.until, fleet, now)
                extending.pay_for(session, person, lease, ask.until, now)
                lease.until = ask.until.astimezone(UTC)
                lease.renewals += 1
                row.active_at = now  # whoever wants it longer has a use for it
                facts = verdict.to_json()
                behalf = on_behalf(person.name, row.owner)
                record(session, now, person.name, "environment.extend", rows.thing(row), facts, behalf)
            return self._shown(session, row, fleet, now)

        return await self._store.run(write)

    async def stop(
        self,
        person: Person,
        name: str,
        reason: str = "asked",
        owner: str | None = None,
        why: str | None = None,
        *,
        at_once: bool = False,
    ) -> wire.Environment:
        """Stop a server, or cancel its ticket; somebody else's for administrators and leads, who may say `why`.

        Its owner reads that. One's own ends at once, somebody else's in `stop_notice_s`, which its owner is told;
        with `at_once` it does not wait. What has stopped already is not an error. Raises `ReasonMissing`.
        """
        fleet = await self._profiles.fleet()
        notice_s = self.runs.settings.stop_notice_s

        def write(session: Session) -> tuple[wire.Environment, Lease | None]:
            now = self._clock()
            row = rows.seen_by(session, person, owner, name)
            stopping.check_reason(person, row.owner, name, why, at_once=at_once)
            at = stopping.stop_at(person, row.owner, notice_s, now, at_once=at_once)
            lease = stopping.want(session, row, person, why, reason, at, now)
            return self._shown(session, row, fleet, now, row.owner == person.name), lease

        answer, lease = await self._store.run(write)
        if lease is not None and not self.runs.is_stopping(lease.id):  # asked twice, it saves once
            await self.runs.withdraw(lease.id)
            self.runs.begin(lease.id, self.runs.stop(Handle(lease.id, Kind.SERVER, lease.handle), reason))
        return answer

    async def report(self, person: Person, name: str, said: wire.ActivityReport) -> None:
        """What a server of this person says of its kernels, terminals and pages. Raises `NotRunning`."""

        def write(session: Session) -> None:
            row = rows.existing(session, person.name, name)
            if row.phase != rows.RUNNING:
                raise NotRunning(name=name, phase=row.phase)
            row.checks = checks.reported(row.checks, said.model_dump(), self._clock())

        await self._store.run(write)

    async def claim(
        self,
        owner: str,
        server_name: str,
        lease: str | None,
        profile: str | None,
        teams: Collection[str] = (),
        *,
        admin: bool = False,
    ) -> Grant:
        """The lease for a server that the hub starts now, taken once and by its owner.

        A lease that is spent or somebody else's counts as none. Without one it is admitted now, or leaves a ticket
        and raises `MustWait` or one of its kind; the team of the last server of this name pays, or the owner's
        only one of `teams`, else it raises `NameYourTeam`. While its last server still ends, raises `StillEnding`;
        `ImageNotForYou` where the owner asked for a container image of their own, and no team of theirs may now;
        `ProfileNotForYou` where the same is true of a profile that brings volumes.
        """
        fleet, name = await self._profiles.fleet(owner), server_name or "default"

        def write(session: Session) -> Lease | DureError:
            now = self._clock()
            row = rows.find(session, owner, name)
            held = rows.active_lease(session, row) if row is not None else None
            if row is not None and held is not None:
                if held.claimed_at is None and held.profile in fleet.profiles:
                    person = Person(owner, admin=admin, teams=frozenset(teams))
                    images.need_still(self.runs.settings, fleet, person, held.profile, row.image)
                return asks.take(session, row, held, lease, now)
            if row is None or row.phase != rows.WAITING:
                wanted = self._as_before(session, row, owner, profile, teams, fleet)
                row = asks.row_of(session, row, owner, name, wanted, now, self.runs.settings.servers_per_person)
                granted = asks.ask(session, row, new_id(), wanted, fleet, now)
                if granted is not None:
                    return asks.take(session, row, granted, granted.id, now)
            page = self.runs.settings.at(rows.wait_page(row.name))
            return _must_wait(row, self._shown(session, row, fleet, now).ticket, page)

        taken = await self._store.run(write)  # raised only now: the ticket must stay
        if not isinstance(taken, Lease):
            raise taken
        taken.slices = await self.carve(taken.id) or taken.slices
        offered, spec = await self._profiles.get(taken.profile), fleet.profile(taken.profile)
        image = spec.image or await self._store.read(partial(_image, taken.id))
        return Grant(
            taken.id,
            offered,
            admission.visible(taken),
            taken.until,
            admission.mps(taken),
            images.command_of(self.runs.settings, image),
            admission.cores(taken),
            admission.memory_mb(taken),
            images.container_of(self.runs.settings, image),
            taken.team,
            taken.project,
            admission.node(taken),
            spec.volumes,
            spec.shm_mb,
        )

    def _as_before(
        self,
        session: Session,
        row: Environment | None,
        owner: str,
        profile: str | None,
        teams: Collection[str],
        fleet: Fleet,
    ) -> Wanted:
        """What a start straight through the hub asks for: what the last server of this name had."""
        before = asks.last(session, row)
        person = Person(owner, teams=frozenset(teams), team=before.team if before else None)
        paying = charged(person, None)
        wanted = profile or (row.profile if row is not None else _FALLBACK)
        project = before.project if before is not None and before.team == paying else None
        spec = fleet.picked(wanted, person)
        image = images.kept(self.runs.settings, spec, person.teams, row.image if row is not None else None)
        seconds = lifetimes.seconds_of(session, None, spec, owner, paying)
        return Wanted(wanted, seconds, paying, project, image)

    async def save_handle(self, handle: Handle) -> None:
        """Keep what is needed to stop a server; called for each handle its start yields."""

        def write(session: Session) -> None:
            session.get_one(Lease, handle.lease).handle = dict(handle.where)

        await self._store.run(write)

    async def start_failed(self, lease: str, why: str, log_end: str) -> None:
        """Keep why a start failed (a code of `reasons`, or a sentence) and the last of its log, for its owner."""

        def write(session: Session) -> None:
            held = session.get(Lease, lease)
            row = rows.of_lease(session, held) if held is not None else None
            if row is not None:
                row.reason, row.log_end = why[: rows.REASON_LENGTH], log_end[-_LOG_LENGTH:] or None

        await self._store.run(write)

    async def put_back(self, lease: str, held: HeldBack) -> None:
        """The cluster has not let it in. Once nothing of it is there, its request waits in its place again, and
        costs nothing; what refused it is not asked again before a pause. Where it is to end anyway, that stays.
        """
        now, pause = self._clock(), timedelta(seconds=put_backs.pause_s(self.runs.settings, held))
        said = refused.refused(held.verdict, now + pause, **held.facts)
        await self._store.run(lambda session: put_backs.want(session, lease, said, now))

    async def ended(
        self, lease: str, reason: str, seen: Seen | None = None, ran_at: datetime | None = None
    ) -> None:
        """The hub has stopped this server, or seen it end. Nothing of it runs any more.

        `seen` is what the backend said of its end just now, and `ran_at` when the hub last saw it run.
        """
        looked_at = self._clock()

        def write(session: Session) -> None:
            at = end_told(session, lease, seen, looked_at, ran_at)
            row = admission.end_lease(session, lease, reason, self._clock(), at=at)
            if row is not None:
                put_backs.settle(session, row, seen, self._clock())

        await self._store.run(write)

    def _shown(
        self, session: Session, row: Environment, fleet: Fleet, now: datetime, others_bind: bool = True
    ) -> wire.Environment:
        bounds = (self.runs.idle_timeout_s, self.runs.subdomain_host, others_bind)
        return rows.on_wire(session, row, fleet, now, *bounds)

    async def close(self) -> None:
        """Give up background work of this process."""
        await self.runs.close()


def _must_wait(row: Environment, ticket: wire.Ticket | None, page: str) -> DureError:
    """What a start straight through the hub is told."""
    if ticket is not None and str(ticket.verdict.get("code")).startswith(("quota_", "over_budget")):
        return MustWaitForLimit(profile=row.profile, page=page)
    if ticket is None or ticket.position is None:
        return MustWaitForProfile(profile=row.profile, page=page)
    return MustWait(profile=row.profile, position=ticket.position, page=page)


def _image(lease_id: str, session: Session) -> str | None:
    row = rows.of_lease(session, session.get_one(Lease, lease_id))
    return None if row is None else row.image

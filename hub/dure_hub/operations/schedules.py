"""Schedules as people see them. Everything here only records what is wanted; `firing` and `execution_runs` do it.

An administrator may name another `owner`; what they do is written down as theirs, on the owner's behalf.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import LANGUAGES, BadRequest, Conflict, NotFound, Unsupported
from dure_hub.backends.base import ExecutionBackend, Feature, Handle, Kind
from dure_hub.operations import admission, firing, reasons, schedule_rows, ticket_rows
from dure_hub.operations.errors import BadLifetime
from dure_hub.operations.execution_runs import ExecutionRuns
from dure_hub.operations.executionfiles import ExecutionFolder
from dure_hub.operations.firing import Firing
from dure_hub.operations.jobs import SnapshotMissing
from dure_hub.operations.leasedwork import read_log
from dure_hub.operations.notes import note, sentence
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.operations.retention import Retention
from dure_hub.operations.schedule_errors import NotKept, OwnerGone, OwnerLeftTeam, OwnerLostProfile, demand
from dure_hub.operations.schedule_rows import (
    OVER,
    execution_object,
    find,
    find_execution,
    on_wire,
    schedule_object,
)
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.policies import cron, parameters
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Execution, Lease, Schedule

SHORTEST_S = 60
T = TypeVar("T")


class Schedules:
    """Make, look at, pause and delete schedules; run one now; look at executions and stop them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        profiles: Profiles,
        snapshots: Snapshots,
        tokens: Tokens,
        executions: ExecutionBackend,
    ) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._profiles, self._snapshots, self._executions = profiles, snapshots, executions
        self.subject = ExecutionRuns(settings, store, clock, snapshots, tokens, executions)
        """For the reconciler."""
        self.firing = Firing(settings, store, clock, profiles, lambda: self.subject.kick())
        """For a tick of its own."""
        self.retention = Retention(settings, store)
        """For another."""

    async def create(self, person: Person, request: wire.ScheduleRequest) -> wire.Schedule:
        """A schedule of this person's. The same id sent twice is one schedule.

        Everything is checked before anything is written. Raises `Conflict` where the name is taken, `Unsupported`,
        `SnapshotMissing`, `BadRequest`, `NoSuchProfile`, `NeverFits`, `BadLifetime`, and all of `schedule_errors`.
        """
        known = await self._store.read(lambda session: self._known(session, person, request))
        if known is not None:
            return known
        self._need_support()
        now = self._clock()
        demand(cron.judge(request.cron, request.timezone, now))
        fleet = await self._profiles.fleet()
        team = charged(person, request.team)
        limit_s = await self._limit(person, request, fleet, now, team)
        notebook = PurePosixPath(request.notebook).as_posix()
        await self._check(request.snapshot, notebook, request.parameters)

        def write(session: Session) -> wire.Schedule:
            again = self._known(session, person, request)
            if again is not None:
                return again
            values = request.model_dump(exclude={"limit_s", "notebook"})
            values |= {"owner": person.name, "limit_s": limit_s, "notebook": notebook, "created_at": now}
            values["team"] = team
            schedule = Schedule(**values, next_at=cron.next_after(request.cron, request.timezone, now))
            session.add(schedule)
            session.flush()
            record(session, now, person.name, "schedule.create", schedule_object(schedule))
            return on_wire(session, schedule, person.name)

        return await self._store.run(write)

    async def list(
        self, person: Person, everyone: bool = False, team: str | None = None
    ) -> builtins.list[wire.Schedule]:
        """Own schedules by name; everyone's for an administrator who asks; a team's for its leads."""
        if everyone:
            person.need_admin()
        if team is not None:
            person.need_lead(team)

        def read(session: Session) -> builtins.list[wire.Schedule]:
            query = select(Schedule).where(Schedule.deleted_at.is_(None)).order_by(Schedule.owner, Schedule.name)
            if team is not None:
                query = query.where(Schedule.team == team)
            elif not everyone:
                query = query.where(Schedule.owner == person.name)
            return [schedule_rows.told_to(session, row, person) for row in session.scalars(query).all()]

        return await self._store.read(read)

    async def get(self, person: Person, name: str, owner: str | None = None) -> wire.Schedule:
        """One schedule; raises `NotFound`."""

        def read(session: Session) -> wire.Schedule:
            return schedule_rows.told_to(session, schedule_rows.seen_by(session, person, owner, name), person)

        return await self._store.read(read)

    async def pause(self, person: Person, name: str, owner: str | None = None) -> wire.Schedule:
        """It is due no more, until it is resumed; a lead of its team may say so, too. What runs goes on."""

        def write(session: Session) -> wire.Schedule:
            schedule = schedule_rows.seen_by(session, person, owner, name)
            if schedule.next_at is not None:
                schedule.next_at = None
                self._record(session, person, "schedule.pause", schedule)
            return schedule_rows.told_to(session, schedule, person)

        return await self._store.run(write)

    async def resume(self, person: Person, name: str, owner: str | None = None) -> wire.Schedule:
        """It is due again, from now on; what it missed while it was paused stays missed.

        Raises `OwnerGone` where its owner may not have it run, `OwnerLeftTeam` where they may not charge its team,
        `OwnerLostProfile` where its profile is for others.
        """
        await self._need_owner(person, name, owner)

        def write(session: Session, schedule: Schedule) -> wire.Schedule:
            if schedule.next_at is None:
                schedule.next_at = cron.next_after(schedule.cron, schedule.timezone, self._clock())
                self._record(session, person, "schedule.resume", schedule)
            return on_wire(session, schedule, person.name)

        return await self._write(person, name, owner, write)

    async def delete(self, person: Person, name: str, owner: str | None = None) -> None:
        """End what waits or runs of it, and free its name. What its executions left is removed once they ended."""

        def write(session: Session, schedule: Schedule) -> None:
            schedule.deleted_at, schedule.next_at = self._clock(), None
            self._record(session, person, "schedule.delete", schedule)
            for execution in schedule_rows.open_executions(session, schedule):
                self._end(session, person, schedule, execution, "deleted")

        await self._write(person, name, owner, write)
        self.subject.kick()

    async def run_now(
        self, person: Person, name: str, request: wire.RunRequest, owner: str | None = None
    ) -> wire.Execution:
        """A new execution, whatever else of it runs. The same id sent twice is one.

        Raises as `create` does and as `resume` does.
        """
        self._need_support()
        schedule = await self._need_owner(person, name, owner)
        values = {**schedule.parameters, **request.parameters}
        await self._check(schedule.snapshot, schedule.notebook, values)
        fleet = await self._profiles.fleet()

        def write(session: Session, schedule: Schedule) -> wire.Execution:
            known = session.get(Execution, request.id)
            if known is not None and known.schedule_id == schedule.id:
                return schedule_rows.execution_on_wire(schedule, known, person.name)
            if known is not None:
                raise Conflict(kind="id", name=request.id, rule="another execution has it")
            now = self._clock()
            execution = firing.made(session, schedule, request.id, values, now, None)
            self._record(session, person, "execution.ask", schedule, execution)
            firing.admit(session, schedule, execution, fleet, now, person.name)
            return schedule_rows.execution_on_wire(schedule, execution, person.name)

        execution = await self._write(person, name, owner, write)
        self.subject.kick()
        return execution

    async def executions(
        self, person: Person, name: str, owner: str | None = None, limit: int = 100
    ) -> builtins.list[wire.Execution]:
        """The newest executions of a schedule and each that has not ended, newest first."""

        def read(session: Session, schedule: Schedule) -> builtins.list[wire.Execution]:
            rows = schedule_rows.newest(session, schedule, limit)
            return [schedule_rows.execution_on_wire(schedule, row, person.name) for row in rows]

        return await self._read(person, name, owner, read)

    async def execution(self, person: Person, name: str, number: int, owner: str | None = None) -> wire.Execution:
        """One execution by its number; raises `NotFound`."""

        def read(session: Session, schedule: Schedule) -> wire.Execution:
            row = find_execution(session, schedule, number)
            return schedule_rows.execution_on_wire(schedule, row, person.name)

        return await self._read(person, name, owner, read)

    async def stop(
        self, person: Person, name: str, number: int, owner: str | None = None, why: str | None = None
    ) -> None:
        """Want it ended; somebody else's for administrators and leads, who may say `why`, which its owner reads.

        One that waits is cancelled at once; one that has ended stays as it is.
        """

        def write(session: Session) -> None:
            schedule = schedule_rows.seen_by(session, person, owner, name)
            reason = reasons.ended_by(person, schedule.owner, why) or "asked"
            self._end(session, person, schedule, find_execution(session, schedule, number), reason)

        await self._store.run(write)
        self.subject.kick()

    async def logs(
        self, person: Person, name: str, number: int, offset: int = 0, owner: str | None = None
    ) -> wire.LogPage:
        """A piece of its log from byte `offset`; of the running process, or what was kept at the end.

        Below 0 it counts from the end; the answer says where that is.
        """

        def read(session: Session, schedule: Schedule) -> tuple[Execution, Lease | None]:
            row = find_execution(session, schedule, number)
            return row, session.get(Lease, row.lease_id) if row.lease_id else None

        row, lease = await self._read(person, name, owner, read)
        handle = Handle(lease.id, Kind.EXECUTION, lease.handle) if lease is not None else None
        folder = ExecutionFolder(self._settings, row.id)
        return await read_log(self._executions, folder, handle, offset, row.state in OVER)

    async def keeps(self, person: Person, name: str, number: int, owner: str | None = None) -> bool:
        """False where notebook and log were removed, since only those of the newest executions are kept."""
        row = await self._read(person, name, owner, lambda session, of: find_execution(session, of, number))
        return not await asyncio.to_thread(self._removed, row)

    async def notebook(self, person: Person, name: str, number: int, owner: str | None = None) -> bytes:
        """The executed notebook's content, as far as it came.

        Raises `NotFound`, also where it is too large, and `NotKept`.
        """
        row = await self._read(person, name, owner, lambda session, of: find_execution(session, of, number))
        content = await asyncio.to_thread(ExecutionFolder(self._settings, row.id).notebook)
        if content is None and await asyncio.to_thread(self._removed, row):
            raise NotKept(name=f"{name}/{number}", kept=self._settings.executions_kept)
        if content is None:
            raise NotFound(kind="notebook", name=f"{name}/{number}")
        return content

    def _removed(self, row: Execution) -> bool:
        over = row.started_at is not None and row.ended_at is not None
        return over and not ExecutionFolder(self._settings, row.id).path.exists()

    async def _need_owner(self, person: Person, name: str, owner: str | None) -> Schedule:
        """The schedule, if its owner may have it run; else it is paused, and what is raised says why."""
        schedule = await self._read(person, name, owner, lambda _, row: row)
        groups = (await self._profiles.fleet()).groups_of(schedule.profile)
        code = await self.firing.why_not(schedule.owner, schedule.team, groups)
        if code is None:
            return schedule

        def write(session: Session, schedule: Schedule) -> None:
            if schedule.next_at is not None:
                schedule_rows.pause(session, schedule, self._clock(), code)

        await self._write(person, name, owner, write)
        if code == OwnerLeftTeam.code:
            raise OwnerLeftTeam(owner=schedule.owner, team=schedule.team)
        if code == OwnerLostProfile.code:
            raise OwnerLostProfile(owner=schedule.owner, profile=schedule.profile)
        raise OwnerGone(owner=schedule.owner, why={of: sentence(code, of) or "" for of in LANGUAGES})

    def _known(self, session: Session, person: Person, request: wire.ScheduleRequest) -> wire.Schedule | None:
        """The schedule this request made before; refuses a name or an id that somebody has."""
        schedule = session.get(Schedule, request.id)
        same = schedule is not None and (schedule.owner, schedule.name) == (person.name, request.name)
        if schedule is not None and same and schedule.deleted_at is None:
            return on_wire(session, schedule, person.name)
        if schedule is not None:
            rule = "its schedule was deleted" if same else "another schedule has it"
            raise Conflict(kind="id", name=request.id, rule=rule)
        named = (Schedule.owner == person.name, Schedule.name == request.name, Schedule.deleted_at.is_(None))
        if session.scalar(select(Schedule.id).where(*named)) is not None:
            raise Conflict(kind="schedule", name=request.name, rule="one of your schedules has this name")
        return None

    def _need_support(self) -> None:
        why = self._executions.unsupported.get(Feature.SCHEDULES)
        if why is not None:
            raise Unsupported(feature=Feature.SCHEDULES.value, why=dict(why))

    async def _limit(
        self, person: Person, request: wire.ScheduleRequest, fleet: Fleet, now: datetime, team: str | None
    ) -> int:
        """Seconds an execution may take. Refuses a profile that is not offered or never fits.

        Whether its budget pays for it is asked each time it fires: today's says nothing about that day.
        """
        fleet.picked(request.profile, person)
        longest, asked = self._settings.max_lifetime_s, request.limit_s
        if asked is not None and asked > longest:
            raise BadLifetime(asked=asked, shortest=SHORTEST_S, longest=longest)
        limit_s = asked if asked is not None else min(self._settings.execution_limit_s, longest)
        await self._store.read(
            partial(
                ticket_rows.foresee,
                profile=request.profile,
                fleet=fleet,
                now=now,
                owner=person.name,
                team=team,
                project=request.project,
                lifetime_s=limit_s,
                purpose=admission.SCHEDULE,
                budgets=False,
            )
        )
        return limit_s

    async def _check(self, snapshot: str, notebook: str, values: Mapping[str, Any]) -> None:
        """Refuse a notebook that is not there or cannot be run, and parameters that it does not take."""
        if not await asyncio.to_thread(self._snapshots.has, snapshot):
            raise SnapshotMissing(snapshot=snapshot)
        content = await self._snapshots.read(snapshot, notebook, parameters.NOTEBOOK_LIMIT)
        if content is None or ".." in PurePosixPath(notebook).parts:
            raise BadRequest(field="notebook", value=notebook, rule="it is a file of the snapshot")
        verdict = await asyncio.to_thread(parameters.check, content, values)
        demand(verdict, notebook=PurePosixPath(notebook).name)

    def _end(
        self, session: Session, person: Person, schedule: Schedule, execution: Execution, reason: str
    ) -> None:
        """In this transaction: cancel what waits, ask for the end of what runs."""
        if execution.state in OVER or execution.wanted == "stop":
            return
        now = self._clock()
        execution.wanted = "stop"
        self._record(session, person, "execution.stop", schedule, execution)
        lease = session.get(Lease, execution.lease_id) if execution.lease_id else None
        if lease is not None:
            admission.ask_end(session, lease, reason, now, person.name)
            return
        admission.cancel(session, execution.id, "cancelled", now, person.name)
        schedule_rows.close(session, execution, "stopped", note(reason), now)

    def _record(
        self, session: Session, person: Person, verb: str, schedule: Schedule, execution: Execution | None = None
    ) -> None:
        thing = execution_object(schedule, execution) if execution else schedule_object(schedule)
        behalf = schedule.owner if schedule.owner != person.name else None
        record(session, self._clock, person.name, verb, thing, None, behalf)

    async def _read(
        self, person: Person, name: str, owner: str | None, look: Callable[[Session, Schedule], T]
    ) -> T:
        of = _whose(person, owner)
        return await self._store.read(lambda session: look(session, find(session, of, name)))

    async def _write(
        self, person: Person, name: str, owner: str | None, change: Callable[[Session, Schedule], T]
    ) -> T:
        of = _whose(person, owner)
        return await self._store.run(lambda session: change(session, find(session, of, name)))


def _whose(person: Person, owner: str | None) -> str:
    """The owner that is meant; refuses who may not act for them."""
    of = owner or person.name
    person.may_act_for(of)
    return of

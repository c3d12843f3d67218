"""Environments as the reconciler sees them: started and stopped through the hub, for as long as it answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError, NotReady
from dure_hub.backends.base import Handle, Kind, Phase, Seen, ServerBackend
from dure_hub.hubapi import HubApi, HubRefused
from dure_hub.operations import admission, put_backs
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.before_stop import BeforeStop
from dure_hub.operations.granted import NOT_ADMITTED
from dure_hub.operations.idleness import Idleness, Measure, Watching, longest_gap_s
from dure_hub.operations.progress import Progress, sentence_of
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease, Ticket

log = logging.getLogger(__name__)

_TRY_AGAIN = (400, 429)
"""The hub's answers to a start that go away by themselves: it is stopping the last one, or starts too many."""
_EVERY = 5
"""The hub is asked for all servers in each of so many passes, and whenever one starts that nobody follows."""
BY_HUB = "stopped_on_hub"
_POLL_S = 0.1
_LISTEN_S = 0.3
"""A start that takes no longer is not listened to while it is asked for."""
_MISSES = 2
"""Answers in a row in which the hub does not know a claimed lease's server, before that counts."""


@dataclass(frozen=True)
class _Held:
    owner: str
    name: str
    profile: str
    lease: str
    claimed: bool
    begun: bool
    starting: bool


class EnvironmentRuns:
    """The reconciler's `Subject` for environments."""

    purpose = admission.NOTEBOOK
    kind = Kind.SERVER
    keeps = False

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        servers: ServerBackend,
        hub: HubApi,
        monotonic: Callable[[], float] = time.monotonic,
        measure: Measure | None = None,
    ) -> None:
        self.runs = servers
        # the hub's own start comes first: it gives up after `http_timeout_s` from the process's start
        self.grace_s = settings.http_timeout_s + 60.0
        self.progress = Progress()
        self.settings = self._settings = settings
        self._store = store
        self._clock = clock
        self._hub = hub
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._misses: dict[str, int] = {}
        self._asked_to_stop: set[str] = set()
        self._passes = 0
        gap_s = longest_gap_s(settings, _EVERY * settings.look_interval_s)
        self._before_stop = BeforeStop(settings, store, clock, servers)
        self._idleness = Idleness(settings, store, clock, Watching(clock, gap_s, monotonic), measure)
        self.idle_timeout_s = settings.idle_timeout_s
        self.subdomain_host = settings.subdomain_host

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """The next `act` asks the hub to start it, or its owner does while the place is held."""
        row = session.get(Environment, ticket.subject)
        if row is None or row.ticket_id != ticket.id:
            return
        rows.grant(row, lease)
        if self._settings.turn == "hold" and not put_backs.is_back(session, ticket):
            now = self._clock()
            rows.hold(row, lease, now + timedelta(seconds=self._settings.turn_wait_s))
            facts = {"lease": lease.id, "until": row.held_until.isoformat() if row.held_until else None}
            verdict = {"code": "turn_held", "facts": facts}
            record(session, now, PORTAL, "environment.hold", rows.thing(row), verdict, row.owner)

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """Nobody stays waiting for ever."""
        row = session.get(Environment, ticket.subject)
        if row is not None and row.ticket_id == ticket.id:
            rows.fail(row, "waited_too_long")

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """It has stopped, or failed, or waits again."""
        put_backs.settle(session, lease, seen, self._clock())

    async def stop(self, handle: Handle, reason: str) -> None:
        """Once it has saved: through the hub, so that it knows; by the backend where the hub is away or knows of
        nothing to stop."""
        place = await self._store.read(lambda session: _place(session, handle.lease))
        if place is not None:
            await self._store.run(lambda session: _stopping(session, handle.lease))
            if self.is_stopping(handle.lease):  # two calls at once: the hub answers the second with an error
                await self._watch_end(handle)
                return
            self._asked_to_stop.add(handle.lease)
            try:
                await self._before_stop.ask(handle, reason)
                if not await self._hub.stop_server(*place):
                    await self._watch_end(handle)
                    return
            except DureError as error:
                log.warning("the hub does not stop %s/%s, so the backend does: %s", *place, error)
            finally:
                self._asked_to_stop.discard(handle.lease)
        if (await self.runs.poll(handle)).phase is Phase.RUNNING:
            await self.runs.stop(handle, self._settings.stop_grace_s)

    async def hub_stops(self, handle: Handle) -> None:
        """In the hub's process, before it ends a server: have it save, unless the portal has seen to that.

        Where nobody has asked the portal for this end, it was asked for on the hub's own pages or by its API. From
        here on it is wanted: should the hub be killed meanwhile, the reconciler goes on with it.
        """
        reason = await self._store.run(partial(self._wanted_by_hub, lease_id=handle.lease))
        if reason is not None:
            await self._before_stop.ask(handle, reason)

    def _wanted_by_hub(self, session: Session, *, lease_id: str) -> str | None:
        lease = session.get(Lease, lease_id)
        row = rows.of_lease(session, lease) if lease is not None else None
        if lease is None or row is None or lease.ended_at is not None:
            return None
        if row.phase == rows.RUNNING and admission.ask_end(session, lease, BY_HUB, self._clock()):
            record(session, self._clock, PORTAL, "environment.stop", rows.thing(row), {"code": BY_HUB}, row.owner)
            row.phase = rows.STOPPING
        return lease.end_reason

    def is_stopping(self, lease: str) -> bool:
        """Whether this process is at it: its server saves, or the hub stops it."""
        return lease in self._asked_to_stop

    async def _watch_end(self, handle: Handle) -> None:
        """The hub is at it. Whoever asked it now would ask it again at once, for as long as that takes."""
        deadline = time.monotonic() + self._settings.look_interval_s
        while (await self.runs.poll(handle)).phase is Phase.RUNNING and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """Ask the hub to start what was granted; read from it what is ready, what is unused, what it has lost.

        A place that was held for too long goes to the next.
        """
        if await self._store.read(lambda session: bool(_passed(session, self._clock()))):
            await self._store.run(self._pass_on)
        held = await self._store.read(_held)
        for one in held:
            if not one.claimed:
                self.start(one.owner, one.name, one.profile, one.lease)
        claimed = [one for one in held if one.claimed]
        self._passes += 1
        unfollowed = any(one.starting and one.lease not in self._tasks for one in claimed)
        if not claimed or not (unfollowed or self._passes % _EVERY == 0):
            return
        try:
            await self._ask_hub(claimed, seen)
        except BaseException:
            self._idleness.watching.silent()  # a look that failed has seen nobody
            raise

    async def _ask_hub(self, claimed: Sequence[_Held], seen: Mapping[str, Seen]) -> None:
        try:
            known = {(server.user, server.name): server for server in await self._hub.servers()}
        except NotReady:
            self._idleness.watching.silent()
            return
        self._misses = {one.lease: self._misses.get(one.lease, 0) for one in claimed}
        for one in claimed:
            server = known.get((one.owner, one.name))
            if server is not None and server.ready and one.starting:
                await self._running(one.lease)
            elif server is not None and one.starting:
                self.begin(one.lease, self._follow_on(one.owner, one.name, one.lease))
            there = one.lease in seen and seen[one.lease].phase is Phase.RUNNING
            missing = server is None and one.lease not in self._tasks and (there or not one.begun)
            self._misses[one.lease] = self._misses[one.lease] + 1 if missing else 0
            if self._misses[one.lease] < _MISSES:
                continue
            if there:
                await self._store.run(partial(self._lost_by_hub, lease_id=one.lease))
            else:  # the hub was killed between the claim and the start, and remembers neither
                self.start(one.owner, one.name, one.profile, one.lease)
        await self._idleness.look(known)

    def start(self, owner: str, name: str, profile: str, lease: str) -> None:
        """Ask the hub to start it, in the background; not twice at once."""
        self.begin(lease, self._start(owner, name, profile, lease))

    def begin(self, lease: str, work: Coroutine[Any, Any, None]) -> None:
        """Background work for a lease, one at a time; a second one is dropped (the reconciler asks again)."""
        if lease in self._tasks:
            work.close()
            return
        task = asyncio.create_task(work, name=f"environment {lease}")
        self._tasks[lease] = task
        task.add_done_callback(lambda done: self._done(lease, done))

    async def withdraw(self, lease: str) -> None:
        """Give up background work for a lease, if there is any."""
        task = self._tasks.get(lease)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Give up all of it; what the hub has begun goes on."""
        for lease in list(self._tasks):
            await self.withdraw(lease)

    def _done(self, lease: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(lease) is task:
            del self._tasks[lease]
        if not task.cancelled() and task.exception() is not None:
            log.error("work for lease %s failed", lease, exc_info=task.exception())

    async def _start(self, owner: str, name: str, profile: str, lease: str) -> None:
        try:
            self.progress.note(lease, {"progress": 0, "code": "requested"}, self._clock())
            asked = self._hub.start_server(owner, name, {"lease": lease, "profile": profile})
            await self._listen_until(asyncio.create_task(asked), owner, name, lease)
            await self._follow(owner, name, lease)
        except NotReady:
            log.info("the hub is away; %s/%s is started in a later pass", owner, name)
        except HubRefused as error:
            if error.facts["answer"] == 404:
                await self._failed(lease, "never_logged_in")  # with a token only, never in a browser
            elif error.facts["answer"] not in _TRY_AGAIN:
                await self._failed(lease, str(error.facts["why"]))

    async def _follow(self, owner: str, name: str, lease: str) -> None:
        """To the end of a start that the hub has begun, whoever asked for it."""
        async for event in self._hub.progress(owner, name):
            self.progress.note(lease, event, self._clock())
            if event.get("ready"):
                await self._running(lease)
            elif event.get("failed"):
                await self._failed(lease, sentence_of(str(event.get("message") or "")) or "start_failed")

    async def _follow_on(self, owner: str, name: str, lease: str) -> None:
        """The same for a start that this process has not asked for, or had begun before it was restarted."""
        try:
            await self._follow(owner, name, lease)
        except DureError as error:  # it is taken up again in a later pass, as long as it starts
            log.info("the start of %s/%s cannot be followed: %s", owner, name, error)

    async def _listen_until(self, asked: asyncio.Task[None], owner: str, name: str, lease: str) -> None:
        """Keep what the hub says while it answers to `asked`, which may take seconds. Raises what that raises.

        An end that is told meanwhile may be that of the start before, so none counts yet.
        """
        try:
            while not asked.done():
                await asyncio.wait({asked}, timeout=_LISTEN_S)
                if asked.done():
                    break
                async for event in self._hub.progress(owner, name):
                    if not (event.get("ready") or event.get("failed")):
                        self.progress.note(lease, event, self._clock())
        except DureError as error:  # only what is shown of the start; `asked` itself says how it went
            log.info("no progress of %s/%s: %s", owner, name, error)
        except asyncio.CancelledError:
            asked.cancel()
            raise
        await asked

    def _pass_on(self, session: Session) -> None:
        """End what was held for too long; the next look grants the room to whoever is next."""
        now = self._clock()
        for row in _passed(session, now):
            lease = rows.active_lease(session, row)
            ticket = session.get(Ticket, row.ticket_id) if row.ticket_id else None
            facts = {"held_until": row.held_until.isoformat() if row.held_until else None}
            verdict = {"code": rows.TURN_PASSED, "facts": facts}
            row.phase, row.reason = rows.STOPPED, rows.TURN_PASSED
            if ticket is not None:
                ticket.state, ticket.verdict, ticket.decided_at = "expired", verdict, now
                record(session, now, PORTAL, "ticket.expired", f"ticket:{ticket.id}", verdict, row.owner)
            record(session, now, PORTAL, "environment.pass", rows.thing(row), verdict, row.owner)
            if lease is not None:  # nothing of it was ever started
                admission.end_lease(session, lease.id, rows.TURN_PASSED, now)

    async def _running(self, lease: str) -> None:
        def write(session: Session) -> None:
            held = session.get_one(Lease, lease)
            row = rows.of_lease(session, held)
            if row is not None and row.phase == rows.STARTING and held.ended_at is None:
                row.phase, row.active_at = rows.RUNNING, self._clock()
                record(session, self._clock, PORTAL, "environment.ready", rows.thing(row), None, row.owner)

        await self._store.run(write)

    async def _failed(self, lease: str, why: str) -> None:
        """The hub says that the start failed. It has stopped what it began, or the reconciler will."""

        def write(session: Session) -> None:
            held = session.get_one(Lease, lease)
            row = rows.of_lease(session, held)
            if row is None or held.end_reason in ("asked", "expired", NOT_ADMITTED):
                return
            now = self._clock()
            if held.claimed_at is None:
                admission.end_lease(session, lease, "start_failed", now)
            else:
                admission.ask_end(session, held, "start_failed", now)
            rows.fail(row, why)
            if held.ended_at is None:
                row.phase = rows.STOPPING
            record(
                session,
                now,
                PORTAL,
                "environment.fail",
                rows.thing(row),
                {"reason": row.reason, "lease": lease},
                row.owner,
            )

        await self._store.run(write)

    def _lost_by_hub(self, session: Session, *, lease_id: str) -> None:
        lease = session.get_one(Lease, lease_id)
        if admission.ask_end(session, lease, "replaced", self._clock()):
            log.warning("the hub does not know the running server of lease %s: stopping it", lease_id)
            _stopping(session, lease_id)


def _held(session: Session) -> list[_Held]:
    query = (
        select(Environment, Lease)
        .join(Lease, Lease.id == Environment.lease_id)
        .where(Lease.ended_at.is_(None), Lease.end_reason.is_(None), Environment.phase != rows.HELD)
    )
    return [
        _Held(
            row.owner,
            row.name,
            row.profile,
            lease.id,
            lease.claimed_at is not None,
            bool(lease.handle),
            row.phase == rows.STARTING,
        )
        for row, lease in session.execute(query).all()
    ]


def _passed(session: Session, now: datetime) -> Sequence[Environment]:
    """Environments whose place is held no longer. Its end is inclusive."""
    query = select(Environment).where(Environment.phase == rows.HELD, Environment.held_until <= now)
    return session.scalars(query).all()


def _place(session: Session, lease_id: str) -> tuple[str, str] | None:
    lease = session.get(Lease, lease_id)
    row = rows.of_lease(session, lease) if lease is not None else None
    return None if row is None else (row.owner, row.name)


def _stopping(session: Session, lease_id: str) -> None:
    row = rows.of_lease(session, session.get_one(Lease, lease_id))
    if row is not None and row.phase in (rows.STARTING, rows.RUNNING):
        row.phase = rows.STOPPING

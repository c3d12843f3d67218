"""What makes endpoints run: the reconciler's subject for leases of purpose serving.

A model server is `waiting` with a ticket, `starting` from its lease on, `ready` once it answers, `crashed` until
it is started again under the same lease, `failed` when that is given up. One that was dropped is `draining` until
Envoy has sent it nothing for a moment, then its lease is asked to end, and it is `gone` with the lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError, NotReady
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason, Runs, Seen, ServingBackend, ServingWork
from dure_hub.dataplane import Dataplane
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations import admission, closures, own_server, serving_rows
from dure_hub.operations.background import Background
from dure_hub.operations.carving import Carve, as_it_is
from dure_hub.operations.disk_errors import NoRoomOnDisk
from dure_hub.operations.leasedwork import keep_handle, renew
from dure_hub.operations.notes import note
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.serving_end import end, finish
from dure_hub.operations.serving_rows import GONE, View
from dure_hub.operations.workfiles import tail
from dure_hub.policies import canary
from dure_hub.policies.canary import CHAMPION, RETIRED
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Endpoint, Event, Lease, Replica, Ticket

log = logging.getLogger(__name__)

_SEES_SOON_S = 1.0
DRAIN_S = 2.0
"""How long a server goes on after Envoy was told to send it nothing more; then it ends what it still answers."""
_COMING = ("starting", "crashed")


class EndpointRuns:
    """Starts model servers, routes to those that answer, drains and ends those that were dropped."""

    purpose = admission.SERVING
    kind = Kind.MODEL
    keeps = False
    grace_s = 30.0

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        profiles: Profiles,
        serving: ServingBackend,
        mlflow: MlflowApi,
        dataplane: Dataplane,
    ) -> None:
        self.runs: Runs = serving
        self.kick: Callable[[], None] = _nothing
        """Asks for the next look at once; the reconciler's own, once there is one."""
        self.carve: Carve = as_it_is
        """Makes the MIG instances of a lease; the carver's own, once there is one."""
        self._settings, self._store, self._clock, self._profiles = settings, store, clock, profiles
        self._serving, self._mlflow, self._dataplane = serving, mlflow, dataplane
        self._background = Background(lambda: self.kick())
        self._publishing = asyncio.Lock()
        # Known only here; after a restart of the portal they begin anew, which only costs time.
        self._failures: dict[str, int] = {}
        self._retry_at: dict[str, datetime] = {}
        self._unrouted_at: dict[str, float] = {}
        self._noted: dict[str, Mapping[str, Any]] = {}
        """Of a model server whose crash is noted, and whose run could not be forgotten yet, which run that is."""

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """Its turn has come."""
        attach(session.get_one(Replica, ticket.subject), lease, self._clock())

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """It waited too long."""
        replica = session.get_one(Replica, ticket.subject)
        replica.phase, replica.reason = "failed", note("gave_up")

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Gone if it was dropped; else it lost its place, and asks for another."""
        replica = session.get(Replica, lease.subject)
        if replica is None or replica.lease_id != lease.id:
            return
        if replica.role == RETIRED:
            replica.phase = GONE
        elif lease.end_reason == own_server.ENDED:
            self._end_with_server(session, replica)
        elif replica.phase != "failed":
            replica.phase, replica.lease_id = "crashed", None
            replica.restarts += self._noted.pop(replica.id, None) is None  # else this crash is counted already
            moves = lease.end_reason in (closures.FAULTY, closures.DRAINED)
            replica.reason = note("moved") if moves else note("crashed", lease.end_reason or "")

    def _end_with_server(self, session: Session, replica: Replica) -> None:
        """The server whose slice it ran on is over: so is the endpoint, and with it the name of its routes."""
        found = serving_rows.view(session, session.get_one(Endpoint, replica.endpoint_id))
        finish(session, found, note(own_server.ENDED), self._clock(), PORTAL, "endpoint.end")
        replica.phase = GONE  # nothing of it runs

    async def stop(self, handle: Handle, reason: str) -> None:
        """Ask it to end; it answers what it has accepted first."""
        await self._serving.stop(handle, self._settings.stop_grace_s)

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """One step for each model server, then the routes, then the endpoints' states."""
        views = await self._store.read(serving_rows.open_views)
        for one in views:
            for replica in one.replicas:
                if replica.role != RETIRED:
                    await self._step_alone(one, replica, seen.get(replica.lease_id or ""))
        if await self.publish():
            await self._drain(views)
        await self._store.run(self._note_states)

    async def publish(self) -> bool:
        """Bring Envoy's routes in line with the rows; False where that failed, and must be tried again."""
        async with self._publishing:
            views = await self._store.read(serving_rows.open_views)
            nobody = f"unix:{self._settings.folder.run / 'nobody.sock'}"
            wanted = serving_rows.fragment_for(views, self._address, nobody, self._settings.base_url)
            try:
                if await asyncio.to_thread(self._dataplane.read, "endpoints") != wanted:
                    await self._dataplane.publish("endpoints", wanted)
            except (DureError, OSError):
                log.exception("the routes of endpoints could not be published; tried again")
                return False
            for one in views:
                for replica in one.replicas:
                    if replica.role == RETIRED:
                        self._unrouted_at.setdefault(replica.id, time.monotonic())
            return True

    async def alias(self, user: str, model: str, alias: str, version: int | None) -> None:
        """Set or take away an alias in the person's name; a model of somebody else's is left as it is."""
        mlflow = self._mlflow.acting(user)
        try:
            if version is None:
                await mlflow.delete_alias(model, alias)
            else:
                await mlflow.set_alias(model, alias, version)
        except DureError as error:
            log.info("alias %s of %s stays as it is: %s", alias, model, error)

    async def close(self) -> None:
        """Cancel what is being started; the next portal goes on with it."""
        await self._background.close()

    async def _step_alone(self, one: View, replica: Replica, what: Seen | None) -> None:
        """One step, whose failure holds up no other endpoint."""
        try:
            await self._step(one, replica, what)
        except (DureError, OSError) as error:
            log.warning("model server %s of %s: %s; tried again", replica.id, one.endpoint.name, error)
            await self._explain(replica, note("start_failed", error), phase=replica.phase)

    async def _step(self, one: View, replica: Replica, what: Seen | None) -> None:
        lease = one.lease(replica)
        if lease is None:
            if replica.phase == "crashed" and not self._waits(replica):
                await self._ask_again(one.endpoint, replica)
        elif what is not None and what.phase is Phase.EXITED:
            await self._crashed(replica, lease, what)
        elif replica.phase in _COMING and lease.end_reason is None:
            if what is None:
                await self._store.run(partial(renew, lease_id=lease.id, now=self._clock()))
            if not self._waits(replica):
                self._background.run(f"model {replica.id}", partial(self._bring_up, one.endpoint, replica, lease))

    def _waits(self, replica: Replica) -> bool:
        at = self._retry_at.get(replica.id)
        return at is not None and self._clock() < at

    async def _bring_up(self, endpoint: Endpoint, replica: Replica, lease: Lease) -> bool:
        """Download, start (or find what was started), and see it answer."""
        handle: Handle | None = None
        try:
            lease.slices = await self.carve(lease.id) or lease.slices
            target = self._settings.folder.artifacts / "models" / endpoint.model / str(replica.version)
            folder = await self._mlflow.acting(endpoint.owner).download(endpoint.model, replica.version, target)
            if not await self._store.run(lambda session: renew(session, lease.id, self._clock())):
                return True
            if self._settings.folder.closing.exists():
                return False
            work = ServingWork(
                lease=lease.id,
                owner=endpoint.owner,
                folder=self._settings.folder.run,
                environment=_environment(),
                devices=admission.visible(lease),
                mps=admission.mps(lease),
                cores=admission.cores(lease),
                memory_mb=admission.memory_mb(lease),
                model=folder,
                name=endpoint.model,
                version=replica.version,
            )
            async for handle in self._serving.start(work):
                await self._store.run(partial(keep_handle, handle=handle))
            if handle is not None:
                await self._see_ready(replica, handle)
        except NotReady as error:
            await self._explain(replica, note("part_away", error.facts.get("part")))
            return False
        except (DureError, OSError) as error:
            log.warning("model server %s of %s cannot start: %s", replica.id, endpoint.name, error)
            why = note("start_failed", error)
            if not await self._tries_again(replica):
                await self._fail(replica, lease, why)
                return True
            await self._explain(replica, why)
            return False
        return True

    async def _tries_again(self, replica: Replica) -> bool:
        """Count a failed start, and whether there is another, later; a shortage of memory or disk may pass."""
        failures = self._failures[replica.id] = self._failures.get(replica.id, 0) + 1
        if canary.gives_up(failures, await self._store.read(partial(_has_answered, replica_id=replica.id))):
            return False
        self._retry_at[replica.id] = self._clock() + timedelta(seconds=canary.restart_delay_s(failures))
        return True

    async def _see_ready(self, replica: Replica, handle: Handle) -> None:
        """Ask until it answers or has ended; one that is silent for too long is ended, and counts as crashed."""
        await self._explain(replica, note("loading"))
        deadline = time.monotonic() + self._settings.http_timeout_s
        while not await self._serving.ready(handle):
            if (await self._serving.poll(handle)).phase is not Phase.RUNNING:
                return
            if time.monotonic() > deadline:
                await self._serving.stop(handle, self._settings.stop_grace_s)
                return
            await asyncio.sleep(0.1)
        self._failures.pop(replica.id, None)
        await self._store.run(lambda session: _ready(session, replica.id, self._clock()))

    async def _crashed(self, replica: Replica, lease: Lease, what: Seen) -> None:
        """Note it with the end of its log, and make way for the next start under the same lease."""
        if lease.end_reason is not None:
            return
        # Its start sees the same in a moment. Otherwise the next look would be the second, and end the lease.
        if await self._background.still_busy(f"model {replica.id}", _SEES_SOON_S):
            return
        if self._noted.get(replica.id) != what.handle.where:  # else only its run is still to be forgotten
            said = tail(await self._serving.tail(what.handle, 1 << 16))
            again = await self._tries_again(replica)
            if what.reason != Reason.NEVER_STARTED and not again:
                await self._fail(replica, lease, note("crashes", said))
                return
            await self._store.run(lambda session: self._note_crash(session, replica.id, lease.id, said))
            self._noted[replica.id] = what.handle.where
        await self._serving.forget(what.handle)
        self._noted.pop(replica.id, None)

    def _note_crash(self, session: Session, replica_id: str, lease_id: str, said: str) -> None:
        replica = session.get_one(Replica, replica_id)
        if replica.role == RETIRED or not renew(session, lease_id, self._clock()):
            return
        replica.phase, replica.reason = "crashed", note("crashed", said)
        replica.restarts += 1
        facts = {"version": replica.version, "restarts": replica.restarts}
        record(session, self._clock, PORTAL, "replica.crash", f"replica:{replica_id}", facts)

    async def _fail(self, replica: Replica, lease: Lease, reason: str) -> None:
        """Try it no more; nothing of it runs."""

        def write(session: Session) -> None:
            row = session.get_one(Replica, replica.id)
            if row.role != RETIRED:
                row.phase, row.reason = "failed", reason
                record(session, self._clock, PORTAL, "replica.fail", f"replica:{row.id}", {"version": row.version})
            admission.ask_end(session, session.get_one(Lease, lease.id), "start_failed", self._clock())

        await self._store.run(write)
        self.kick()

    async def _explain(self, replica: Replica, reason: str, phase: str = "starting") -> None:
        def write(session: Session) -> None:
            row = session.get_one(Replica, replica.id)
            if row.phase in _COMING:
                row.phase, row.reason = phase, reason

        await self._store.run(write)

    async def _ask_again(self, endpoint: Endpoint, replica: Replica) -> None:
        """A new ticket for one whose lease was lost with its process."""
        fleet = await self._profiles.fleet()

        def write(session: Session) -> None:
            row, now = session.get_one(Replica, replica.id), self._clock()
            if row.role == RETIRED or row.lease_id is not None:
                return
            row.phase, row.ticket_id = "waiting", new_id()
            try:
                with session.begin_nested():
                    granted = admission.admit(
                        session,
                        ticket_id=row.ticket_id,
                        owner=endpoint.owner,
                        purpose=admission.SERVING,
                        subject=row.id,
                        profile=endpoint.profile,
                        lifetime_s=None,
                        now=now,
                        fleet=fleet,
                        team=endpoint.team,
                        project=endpoint.project,
                        queue_class=endpoint.queue_class,
                    )
            except NoRoomOnDisk:  # asked again in a later pass, until there is
                row.phase, row.ticket_id = "crashed", None
                return
            except own_server.NoOwnServer:  # it ended while this was between two leases
                self._end_with_server(session, row)
                return
            if isinstance(granted, Lease):
                attach(row, granted, now)

        await self._store.run(write)
        self.kick()

    async def _drain(self, views: Sequence[View]) -> None:
        """End those to which nothing has been routed for a while."""
        dropped = [replica.id for one in views for replica in one.replicas if replica.role == RETIRED]
        for replica_id in dropped:
            at = self._unrouted_at.get(replica_id)
            if at is None or time.monotonic() - at < DRAIN_S:
                continue
            if await self._store.run(partial(end, replica_id=replica_id, now=self._clock())):
                self.kick()

    def _note_states(self, session: Session) -> None:
        for one in serving_rows.open_views(session):
            endpoint, champion = one.endpoint, one.role(CHAMPION)
            if endpoint.ended_at is not None:
                continue
            state = canary.state(one.servers, champion is not None and champion.restarts > 0)
            reason = champion.reason if champion is not None else None
            if (endpoint.state, endpoint.reason) != (state, reason):
                if endpoint.state != state:
                    facts = {"from": endpoint.state, "to": state}
                    record(session, self._clock, PORTAL, "endpoint.state", f"endpoint:{endpoint.name}", facts)
                endpoint.state, endpoint.reason = state, reason

    def _address(self, lease: Lease) -> str | None:
        if not lease.handle.get("port"):
            return None
        host, port = self._serving.address(Handle(lease.id, Kind.MODEL, lease.handle))
        return f"{host}:{port}"


def attach(replica: Replica, lease: Lease, now: datetime) -> None:
    """Give a model server its lease; it starts from the next look on."""
    lease.claimed_at = now
    replica.lease_id, replica.phase, replica.reason = lease.id, "starting", note("fetching")


def _has_answered(session: Session, replica_id: str) -> bool:
    """Whether it was ever ready."""
    query = select(Event.id).where(Event.object == f"replica:{replica_id}", Event.verb == "replica.ready").limit(1)
    return session.scalar(query) is not None


def _ready(session: Session, replica_id: str, now: datetime) -> None:
    replica = session.get_one(Replica, replica_id)
    if replica.role != RETIRED and replica.phase != "ready":
        replica.phase, replica.reason = "ready", None
        record(session, now, PORTAL, "replica.ready", f"replica:{replica_id}", {"version": replica.version})


def _environment() -> dict[str, str]:
    """Of the portal's own environment only where programs and libraries are; no secret is among these."""
    names = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
    return {"LANG": "C.UTF-8", **{name: os.environ[name] for name in names if name in os.environ}}


def _nothing() -> None:
    return None

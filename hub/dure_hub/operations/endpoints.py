"""Served models as people see them. What is wanted is recorded here; `serving` makes it so.

What takes requests away from a server (promote, roll back, delete) changes the rows, then publishes the routes;
the server is stopped only some time after Envoy took them, so no request is lost.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import Conflict, DureError, NotReady, Unsupported
from dure.wire.ids import new_id
from dure_hub.backends.base import Feature, ServingBackend
from dure_hub.dataplane import Dataplane
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations import admission, login_rows, own_server, reasons, serving_rows
from dure_hub.operations.models import CHALLENGER
from dure_hub.operations.notes import note
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.operations.serving import EndpointRuns, attach
from dure_hub.operations.serving_end import drop, finish
from dure_hub.operations.serving_errors import demand
from dure_hub.operations.serving_rows import View
from dure_hub.policies.canary import CANARY, CHAMPION, may_canary, may_promote
from dure_hub.policies.classes import class_of
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import on_behalf, record
from dure_hub.store.models import Endpoint, Lease, Replica, Rollout

log = logging.getLogger(__name__)


class Endpoints:
    """Deploy, try, promote, roll back, end. Everyone sees all; only the owner or an administrator changes one."""

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
        self._store, self._clock, self._profiles = store, clock, profiles
        self._serving, self._mlflow, self._dataplane = serving, mlflow, dataplane
        self.subject = EndpointRuns(settings, store, clock, profiles, serving, mlflow, dataplane)
        """For the reconciler."""

    async def deploy(self, person: Person, request: wire.DeployRequest) -> wire.Endpoint:
        """Serve a version under a name; returns before it runs. The same id sent twice is one endpoint.

        Raises `NotFound` for the version, `Conflict` for the name, `Unsupported`, and what `admit` raises.
        """
        why = self._serving.unsupported.get(Feature.SERVING)
        if why is not None:
            raise Unsupported(feature=Feature.SERVING.value, why=why["en"], why_ko=why["ko"])
        await self._mlflow.acting(person.name, admin=person.admin).version(request.model, request.version)
        fleet, team = await self._profiles.fleet(), charged(person, request.team)
        if request.profile != own_server.MINE:  # on their own server, they picked already
            fleet.picked(request.profile, person)

        def write(session: Session) -> View:
            known = session.get(Endpoint, request.id)
            if known is not None:
                return self._same(session, known, person, request)
            taken = select(Endpoint.id).where(Endpoint.name == request.name, Endpoint.ended_at.is_(None))
            if session.scalar(taken) is not None:
                raise Conflict(kind="endpoint", name=request.name, rule="names of endpoints are shared by all")
            now = self._clock()
            endpoint = Endpoint(
                id=request.id,
                name=request.name,
                owner=person.name,
                model=request.model,
                profile=request.profile,
                team=team,
                project=request.project,
                queue_class=class_of(admission.SERVING, urgent=request.urgent),
                state="starting",
                created_at=now,
            )
            session.add(endpoint)
            facts = {"model": request.model, "version": request.version}
            record(session, now, person.name, "endpoint.deploy", f"endpoint:{request.name}", facts)
            self._add(session, endpoint, new_id(), request.version, CHAMPION, 100, fleet)
            return serving_rows.view(session, endpoint)

        return await self._changed(await self._store.run(write))

    async def list(self, person: Person) -> Sequence[wire.Endpoint]:
        """Every endpoint that is served, by name."""
        views = [v for v in await self._store.read(serving_rows.open_views) if v.endpoint.ended_at is None]
        return await self._on_wire(views)

    async def get(self, person: Person, name: str) -> wire.Endpoint:
        """One endpoint; raises `NotFound`."""
        found = await self._store.read(lambda s: serving_rows.view(s, serving_rows.find(s, name)))
        return (await self._on_wire([found]))[0]

    async def canary(self, person: Person, name: str, request: wire.CanaryRequest) -> wire.Endpoint:
        """Try a version beside the champion, or change the share of the one on trial.

        It gets requests once it is ready. Raises `NotFound`, `ChampionNotReady`, `CanaryRuns`, `NotAllowed`,
        `NotYourTeam`.
        """
        endpoint = await self._store.read(lambda session: serving_rows.find(session, name))
        person.may_act_for(endpoint.owner)
        model = endpoint.model
        await self._mlflow.acting(person.name, admin=person.admin).version(model, request.version)
        fleet = await self._profiles.fleet()

        def write(session: Session) -> View:
            found = self._mine(session, person, name)
            demand(may_canary(found.servers, request.version), name)
            on_trial = found.role(CANARY)
            if on_trial is None:
                self._begin(session, person, found, request, fleet)
            else:
                on_trial.percent = request.percent
                _rollout(session, found.endpoint).percent = request.percent
            facts = {"version": request.version, "percent": request.percent}
            behalf = on_behalf(person.name, found.endpoint.owner)
            record(session, self._clock, person.name, "endpoint.canary", f"endpoint:{name}", facts, behalf)
            session.flush()
            return serving_rows.view(session, found.endpoint)

        made = await self._store.run(write)
        await self.subject.alias(person.name, model, CHALLENGER, request.version)
        return await self._changed(made)

    async def promote(self, person: Person, name: str) -> wire.Endpoint:
        """Make the canary the champion, with every request from now on. Raises `NoCanary`, `CanaryNotReady`."""

        def write(session: Session, found: View) -> int:
            demand(may_promote(found.servers), name)
            now, old, new = self._clock(), found.role(CHAMPION), found.role(CANARY)
            assert new is not None  # noqa: S101 - may_promote has looked
            if old is not None:
                drop(session, old, now)
            new.role, new.percent = CHAMPION, 100
            rollout = _rollout(session, found.endpoint)
            rollout.state, rollout.ended_at = "promoted", now
            return new.version

        return await self._end_trial(person, name, "endpoint.promote", write, champion=True)

    async def rollback(self, person: Person, name: str) -> wire.Endpoint:
        """Give every request back to the champion and end the canary. Raises `NoCanary`."""

        def write(session: Session, found: View) -> int:
            on_trial = found.role(CANARY)
            if on_trial is None:
                demand(may_promote(found.servers), name)
            assert on_trial is not None  # noqa: S101 - without one, `demand` has raised
            drop(session, on_trial, self._clock())
            rollout = _rollout(session, found.endpoint)
            rollout.state, rollout.ended_at = "rolled_back", self._clock()
            return on_trial.version

        return await self._end_trial(person, name, "endpoint.rollback", write, champion=False)

    async def delete(self, person: Person, name: str, why: str | None = None) -> None:
        """Serve it no more. Its name is free at once; its servers end when their last requests have.

        A lead of its team may, too, and may say `why`, as administrators may.
        """

        def write(session: Session) -> None:
            endpoint = serving_rows.find(session, name)
            person.need_sight(endpoint.owner, endpoint.team)
            reason = note(reasons.ended_by(person, endpoint.owner, why) or "asked")
            finish(
                session,
                serving_rows.view(session, endpoint),
                reason,
                self._clock(),
                person.name,
                "endpoint.delete",
            )

        await self._store.run(write)
        await self.subject.publish()
        self.subject.kick()

    async def _end_trial(
        self, person: Person, name: str, verb: str, write: Callable[[Session, View], int], *, champion: bool
    ) -> wire.Endpoint:
        def change(session: Session) -> tuple[View, int]:
            found = self._mine(session, person, name)
            version = write(session, found)
            facts, behalf = {"version": version}, on_behalf(person.name, found.endpoint.owner)
            record(session, self._clock, person.name, verb, f"endpoint:{name}", facts, behalf)
            session.flush()
            return serving_rows.view(session, found.endpoint), version

        made, version = await self._store.run(change)
        answer = await self._changed(made)
        if champion:
            await self.subject.alias(person.name, made.endpoint.model, "champion", version)
        await self.subject.alias(person.name, made.endpoint.model, CHALLENGER, None)
        return answer

    async def _changed(self, made: View) -> wire.Endpoint:
        """Let Envoy know before the answer is given; where it cannot be told now, the reconciler will."""
        await self.subject.publish()
        self.subject.kick()
        return (await self._on_wire([made]))[0]

    async def _on_wire(self, views: Sequence[View]) -> builtins.list[wire.Endpoint]:
        names = [serving_rows.cluster_of(one.endpoint, replica) for one in views for replica in one.replicas]
        try:
            counts = await self._dataplane.counts(names)
            latencies = await self._dataplane.latencies(names)
        except (DureError, OSError):
            log.warning("counters are unknown", exc_info=True)
            counts, latencies = {}, {}
        return [serving_rows.on_wire(one, counts, latencies) for one in views]

    def _mine(self, session: Session, person: Person, name: str) -> View:
        endpoint = serving_rows.find(session, name)
        person.may_act_for(endpoint.owner)
        return serving_rows.view(session, endpoint)

    def _same(self, session: Session, known: Endpoint, person: Person, request: wire.DeployRequest) -> View:
        if (known.owner, known.name) != (person.name, request.name):
            raise Conflict(kind="id", name=request.id, rule="another endpoint has it")
        return serving_rows.view(session, known)

    def _begin(
        self, session: Session, person: Person, found: View, request: wire.CanaryRequest, fleet: Fleet
    ) -> None:
        if found.endpoint.team is not None:
            charged(person, found.endpoint.team)  # who has left the team starts nothing more at its cost
        champion = found.role(CHAMPION)
        assert champion is not None  # noqa: S101 - may_canary has looked
        rollout = Rollout(
            id=new_id(),
            endpoint_id=found.endpoint.id,
            from_version=champion.version,
            to_version=request.version,
            percent=request.percent,
            state="running",
            started_by=person.name,
            started_at=self._clock(),
        )
        session.add(rollout)
        self._add(session, found.endpoint, request.id, request.version, CANARY, request.percent, fleet)

    def _add(
        self, session: Session, endpoint: Endpoint, key: str, version: int, role: str, percent: int, fleet: Fleet
    ) -> None:
        """A model server to be, with its lease or ticket."""
        if session.get(Replica, key) is not None:
            raise Conflict(kind="id", name=key, rule="another request has it")
        login_rows.refuse_if_gone(session, endpoint.owner)
        now = self._clock()
        replica = Replica(
            id=key,
            endpoint_id=endpoint.id,
            version=version,
            role=role,
            percent=percent,
            phase="waiting",
            reason=note("waiting", endpoint.profile),
            ticket_id=key,
            created_at=now,
        )
        session.add(replica)
        session.flush()
        granted = admission.admit(
            session,
            ticket_id=key,
            owner=endpoint.owner,
            purpose=admission.SERVING,
            subject=key,
            profile=endpoint.profile,
            lifetime_s=None,
            now=now,
            fleet=fleet,
            team=endpoint.team,
            project=endpoint.project,
            queue_class=endpoint.queue_class,
        )
        if isinstance(granted, Lease):
            attach(replica, granted, now)
        session.flush()


def _rollout(session: Session, endpoint: Endpoint) -> Rollout:
    """The one that runs."""
    running = select(Rollout).where(Rollout.endpoint_id == endpoint.id, Rollout.state == "running")
    found = session.scalars(running).first()
    if found is None:
        raise NotReady(part="the rollout's record")
    return found

"""Training jobs as people see them. Everything here only records what is wanted; `jobruns` makes it so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import BadRequest, Conflict, DureError, NotFound, Text, Unsupported
from dure_hub.backends.base import Feature, Handle, Kind, TrainingBackend
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations import admission, own_server, reasons
from dure_hub.operations.errors import RanksOnSlice
from dure_hub.operations.jobfiles import JobFolder, has_entry
from dure_hub.operations.jobruns import JobRuns, attach
from dure_hub.operations.leasedwork import read_log
from dure_hub.operations.notes import both, note, sentence
from dure_hub.operations.own_server import MINE
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.policies.classes import class_of
from dure_hub.policies.placement import ranks
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Attempt, Job, Lease, Ticket

OVER = ("succeeded", "failed", "stopped")


class SnapshotMissing(DureError):
    """A job names code that was not uploaded."""

    code, status = "snapshot_missing", 422
    message: ClassVar[Text] = {
        "en": "The code {snapshot} has not been uploaded.",
        "ko": "코드 {snapshot}이(가) 업로드되지 않았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Upload it first with `PUT /snapshots/{snapshot}`; the SDK's `dure.train` does so.",
        "ko": "먼저 `PUT /snapshots/{snapshot}`로 올리세요. SDK의 `dure.train`은 자동으로 올립니다.",
    }


class Jobs:
    """Submit, look at and stop training jobs."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        profiles: Profiles,
        snapshots: Snapshots,
        tokens: Tokens,
        training: TrainingBackend,
        mlflow: MlflowApi,
    ) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._profiles, self._snapshots, self._training = profiles, snapshots, training
        self.subject = JobRuns(settings, store, clock, profiles, snapshots, tokens, training, mlflow)
        """For the reconciler."""

    async def submit(self, person: Person, request: wire.JobRequest) -> wire.Job:
        """Record a job of this person's and its place in the queue; returns before anything runs.

        The same id sent twice is one job. Raises `Conflict` where the name is taken, `Unsupported` with the
        backend's own sentence, `SnapshotMissing`, `BadRequest`, and what `admit` raises.
        """
        known = await self._store.read(lambda session: self._known(session, person, request))
        if known is not None:
            return known
        fleet = await self._profiles.fleet()
        # on one's own server it is the server's team that pays, whoever asks
        team = None if request.profile == MINE else charged(person, request.team)
        offered = await self._offered(person, request.profile, fleet)
        await self._check(request, fleet, offered)
        job = await self._store.run(lambda session: self._record(session, person, request, fleet, offered, team))
        self.subject.kick()
        return job

    async def list(self, person: Person, everyone: bool = False, team: str | None = None) -> Sequence[wire.Job]:
        """Own jobs, newest first; everyone's for an administrator who asks; a team's for its leads."""
        if everyone:
            person.need_admin()
        if team is not None:
            person.need_lead(team)

        def read(session: Session) -> Sequence[wire.Job]:
            query = select(Job).order_by(Job.created_at.desc(), Job.id.desc())
            if team is not None:
                query = query.join(Ticket, Ticket.id == Job.ticket_id).where(Ticket.team == team)
            elif not everyone:
                query = query.where(Job.owner == person.name)
            rows = session.scalars(query).all()
            return [on_wire(session, row) for row in rows]

        return await self._store.read(read)

    async def get(self, person: Person, name: str) -> wire.Job:
        """One of one's own jobs; raises `NotFound`."""
        return await self._store.read(lambda session: on_wire(session, find(session, person.name, name)))

    async def stop(self, person: Person, name: str, owner: str | None = None, why: str | None = None) -> None:
        """Want it ended; somebody else's for administrators and leads, who may say `why`, which its owner reads.

        One that waits is cancelled at once; one that has ended stays as it is.
        """

        def write(session: Session) -> None:
            job = seen_by(session, person, owner, name)
            if job.state in OVER or job.wanted == "stop":
                return
            now = self._clock()
            job.wanted = "stop"
            ended_by = reasons.ended_by(person, job.owner, why)
            behalf = None if ended_by is None else job.owner
            record(session, now, person.name, "job.stop", f"job:{job.owner}/{job.name}", {"why": why}, behalf)
            attempt = last_attempt(session, job)
            if attempt is None or job.state == "queued":
                admission.cancel(session, job.ticket_id or job.id, "cancelled", now, person.name)
                job.state, job.reason, job.ended_at = "stopped", note(ended_by or "asked"), now
                self.subject.untidy(job.id)  # one that waits again has a run and code from before
            else:
                lease = session.get_one(Lease, attempt.lease_id)
                admission.ask_end(session, lease, ended_by or "asked", now, person.name)

        await self._store.run(write)
        self.subject.kick()

    async def logs(self, person: Person, name: str, offset: int = 0) -> wire.LogPage:
        """A piece of its log from byte `offset`; of the running process, or what was kept at the end.

        Below 0 it counts from the end; the answer says where that is.
        """

        def read(session: Session) -> tuple[Job, Lease | None]:
            job = find(session, person.name, name)
            attempt = last_attempt(session, job)
            return job, session.get(Lease, attempt.lease_id) if attempt else None

        job, lease = await self._store.read(read)
        handle = Handle(lease.id, Kind.JOB, lease.handle) if lease is not None else None
        folder = JobFolder(self._settings, job.id)
        return await read_log(self._training, folder, handle, offset, job.state in OVER)

    def _known(self, session: Session, person: Person, request: wire.JobRequest) -> wire.Job | None:
        """The job this request made before; refuses a name or an id that somebody has."""
        job = session.get(Job, request.id)
        if job is not None and (job.owner, job.name) == (person.name, request.name):
            return on_wire(session, job)
        if job is not None:
            raise Conflict(kind="id", name=request.id, rule="another job has it")
        taken = select(Job.id).where(Job.owner == person.name, Job.name == request.name)
        if session.scalar(taken) is not None:
            raise Conflict(kind="job", name=request.name, rule="names of jobs are used once")
        return None

    async def _offered(self, person: Person, name: str, fleet: Fleet) -> ProfileSpec:
        """What a profile's name stands for; `mine` is that of one's own server."""
        if name == MINE:
            name = await self._store.read(lambda session: own_server.find(session, person.name).profile)
            return fleet.profile(name)
        return fleet.picked(name, person)

    async def _check(self, request: wire.JobRequest, fleet: Fleet, profile: ProfileSpec) -> None:
        why = self._training.unsupported.get(Feature.TRAINING)
        if why is not None:
            raise Unsupported(feature=Feature.TRAINING.value, why=why["en"], why_ko=why["ko"])
        most = profile.gpus or max(2, int(max(node.cores for node in fleet.machines)))
        if request.processes is not None and request.processes > most:
            rule = f"{request.profile} has room for {most}"
            raise BadRequest(field="processes", value=request.processes, rule=rule)
        allowed = ranks(profile, request.processes or 1, fleet.profiles)
        if not allowed.allowed:
            whole = allowed.facts["instead"]
            names = {
                "instead": whole or "a profile of whole GPUs",
                "instead_ko": whole or "GPU를 통째로 쓰는 프로필",
            }
            raise RanksOnSlice(profile=profile.name, processes=request.processes, **names)
        if not self._snapshots.has(request.snapshot):
            raise SnapshotMissing(snapshot=request.snapshot)
        archive = await asyncio.to_thread(self._snapshots.path, request.snapshot)
        if not await asyncio.to_thread(has_entry, archive, request.entry):
            raise BadRequest(field="entry", value=request.entry, rule="it is a file of the snapshot")

    def _record(
        self,
        session: Session,
        person: Person,
        request: wire.JobRequest,
        fleet: Fleet,
        profile: ProfileSpec,
        team: str | None,
    ) -> wire.Job:
        """Row, event, and lease or ticket, in one transaction."""
        known = self._known(session, person, request)
        if known is not None:
            return known
        now = self._clock()
        values = request.model_dump(exclude={"id", "team", "project", "fine_tuning"})
        job = Job(id=request.id, owner=person.name, state="queued", ticket_id=request.id, created_at=now, **values)
        if job.processes is None:
            job.processes = profile.gpus or (1 if profile.mig or profile.share else 2)
        session.add(job)
        session.flush()
        record(session, now, person.name, "job.submit", f"job:{job.owner}/{job.name}")
        granted = admission.admit(
            session,
            ticket_id=job.id,
            owner=job.owner,
            purpose=admission.TRAINING,
            subject=job.id,
            profile=job.profile,
            lifetime_s=self._settings.max_lifetime_s,
            now=now,
            fleet=fleet,
            team=team,
            project=request.project,
            queue_class=class_of(admission.TRAINING, fine_tuning=request.fine_tuning),
        )
        if isinstance(granted, Lease):
            attach(session, job, granted, now)
        else:
            job.reason = note("waiting", job.profile)
        return on_wire(session, job)


def find(session: Session, owner: str, name: str) -> Job:
    """A job by owner and name; raises `NotFound`."""
    job = session.scalar(select(Job).where(Job.owner == owner, Job.name == name))
    if job is None:
        raise NotFound(kind="job", name=name)
    return job


def seen_by(session: Session, person: Person, owner: str | None, name: str) -> Job:
    """A job that this person may know of and end. Whether others' are there is told to nobody else."""
    whose = owner or person.name
    query = select(Ticket.team).join(Job, Job.ticket_id == Ticket.id).where(Job.owner == whose, Job.name == name)
    person.need_sight(whose, session.scalar(query))
    return find(session, whose, name)


def last_attempt(session: Session, job: Job) -> Attempt | None:
    """Its newest attempt; None while it waits."""
    query = select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.number.desc()).limit(1)
    return session.scalar(query)


def on_wire(session: Session, job: Job) -> wire.Job:
    """The job as people see it; `reason_text` has the reason in every language."""
    attempts = session.scalars(select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.number)).all()
    return wire.Job.model_validate(
        {
            "id": job.id,
            "name": job.name,
            "owner": job.owner,
            "profile": job.profile,
            "state": job.state,
            "reason": sentence(job.reason),
            "reason_text": both(job.reason),
            "entry": job.entry,
            "parameters": job.parameters,
            "processes": job.processes,
            "device": job.device,
            "run_id": job.run_id,
            "experiment": job.experiment,
            "created_at": job.created_at,
            "ended_at": job.ended_at,
            "attempts": [
                wire.Attempt(
                    number=one.number,
                    state=one.state,
                    exit_code=one.exit_code,
                    reason=sentence(one.reason),
                    started_at=one.started_at,
                    ended_at=one.ended_at,
                )
                for one in attempts
            ],
        }
    )

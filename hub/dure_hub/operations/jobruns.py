"""What makes jobs run: the reconciler's subject for leases of purpose training.

A job is `queued` with a ticket, `starting` from its lease on, `running` once its process was seen or started. Each
step can be done again after a crash: the MLflow run is found by the job's id, the start is keyed by the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import NotReady
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Reason, Seen, TrainingBackend
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations import admission, jobwork, own_server
from dure_hub.operations.closures import DRAINED, FAULTY
from dure_hub.operations.jobfiles import JobFolder
from dure_hub.operations.leasedwork import Begin, Item, LeasedWork, keep_handle
from dure_hub.operations.notes import note
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.reasons import STOPPED_BY
from dure_hub.operations.reclaim import RAN_LONG, RECLAIMED
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.operations.workfiles import remove
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Attempt, Job, Lease, Ticket

_ALONE = {own_server.ENDED: "stopped", FAULTY: "failed", DRAINED: "failed"}
"""Ends that say all by themselves, with the state that they lead to."""


class JobRuns(LeasedWork[Job]):
    """Starts granted jobs, and closes those that ended."""

    purpose = admission.TRAINING
    kind = Kind.JOB
    word = "job"
    model = Job

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
        super().__init__(settings, store, clock, snapshots, tokens, training)
        self._profiles, self._training, self._mlflow = profiles, training, mlflow

    @property
    def stop_s(self) -> float:
        """A job may write a checkpoint first."""
        return self._settings.job_grace_s

    def folder(self, work_id: str) -> JobFolder:
        """`jobs/<id>/`."""
        return JobFolder(self._settings, work_id)

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """Its turn has come."""
        attach(session, session.get_one(Job, ticket.subject), lease, self._clock())

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """It waited too long."""
        job = session.get_one(Job, ticket.subject)
        job.state, job.reason, job.ended_at = "failed", note("gave_up"), self._clock()
        self.untidy(job.id)
        record(session, self._clock, PORTAL, "job.fail", _object(job), None, job.owner)

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Close attempt and job, with a reason that a person can use."""
        attempt = _attempt(session, lease)
        job = session.get(Job, lease.subject)
        if job is None or attempt is None or job.ended_at is not None:
            return
        moved = _moved(session, job)
        if job.wanted == "run" and not (moved and lease.end_reason == FAULTY) and self._goes_on(job, lease, seen):
            self._requeue(session, job, attempt, lease, seen)
            return
        state, reason = outcome(lease.end_reason or "", job.wanted == "stop", seen, self.last(lease).tail)
        self._close(session, job, attempt, state, reason, seen.exit_code if seen else None)

    def _open(self, session: Session) -> Sequence[Item[Job]]:
        query = (
            select(Job, Attempt, Lease)
            .join(Attempt, Attempt.job_id == Job.id)
            .join(Lease, Lease.id == Attempt.lease_id)
            .where(Job.ended_at.is_(None), Attempt.ended_at.is_(None), Lease.ended_at.is_(None))
        )
        rows = session.execute(query).all()
        return [Item(job, lease, attempt.state == "starting") for job, attempt, lease in rows]

    async def _prepare(self, item: Item[Job]) -> Begin:
        """Code, MLflow run, token."""
        job, lease, folder = item.row, item.lease, self.folder(item.row.id)
        await self._unpack(job.snapshot, folder)
        if job.run_id is None:
            await asyncio.to_thread(folder.run_open.touch, mode=0o600)
            job.device = jobwork.device_of(await self._profiles.fleet(), lease)
            job.run_id = await jobwork.make_run(self._mlflow, job, self._clock())
            await self._store.run(lambda session: _keep_run(session, job))
        await self._give_token(item, folder)
        python, shared = await self._owners_place(job.owner, folder)
        return partial(self._training.start, jobwork.work_of(self._settings, job, lease, python, shared))

    def _started(self, session: Session, item: Item[Job], handle: Handle) -> None:
        job, attempt = session.get_one(Job, item.row.id), _attempt(session, item.lease)
        if attempt is None or attempt.state != "starting":
            return
        keep_handle(session, handle)
        attempt.state, attempt.started_at = "running", self._clock()
        job.state, job.reason = "running", None
        record(session, self._clock, PORTAL, "job.start", _object(job), {"device": job.device}, job.owner)

    def _failed(self, session: Session, item: Item[Job], reason: str) -> None:
        job, attempt = session.get_one(Job, item.row.id), _attempt(session, item.lease)
        if attempt is not None:
            self._close(session, job, attempt, "failed", reason, None)

    def _goes_on(self, job: Job, lease: Lease, seen: Seen | None) -> bool:
        """Whether it was only interrupted. When it ran for so long it goes on from its checkpoint alone: one that
        writes none would begin again for ever.
        """
        if seen is not None and seen.exit_code == 0 and seen.reason != Reason.STOPPED:
            return False  # it finished meanwhile
        if lease.end_reason in ("expired", RAN_LONG):
            return self.folder(job.id).has_checkpoint()
        # on the slices of a server that goes on there is no other GPU to be had
        return lease.end_reason in (RECLAIMED, FAULTY, DRAINED) and lease.parent is None

    def _requeue(self, session: Session, job: Job, attempt: Attempt, lease: Lease, seen: Seen | None) -> None:
        """It waits again, and goes on in the same MLflow run."""
        now = self._clock()
        attempt.state, attempt.exit_code, attempt.ended_at = "stopped", seen.exit_code if seen else None, now
        attempt.reason = note(lease.end_reason or "")
        # the next attempt finds no token of this one, which died with the lease
        self.folder(job.id).drop_token()
        lifetime_s = None if lease.until is None else int(self._settings.max_lifetime_s)
        ticket = admission.requeue(session, lease, lifetime_s, now)
        job.ticket_id, job.state, job.reason = ticket.id, "queued", note(lease.end_reason or "")
        facts = {"code": lease.end_reason, "attempt": attempt.number}
        record(session, now, PORTAL, "job.requeue", _object(job), facts, job.owner)

    def _close(
        self, session: Session, job: Job, attempt: Attempt, state: str, reason: str | None, code: int | None
    ) -> None:
        now = self._clock()
        lost = reason is not None and reason.startswith("lost")
        attempt.state, attempt.exit_code, attempt.reason = ("lost" if lost else state), code, reason
        attempt.ended_at = job.ended_at = now
        job.state, job.reason = state, reason
        facts = {"state": state, "exit_code": code}
        record(session, now, PORTAL, "job.end", _object(job), facts, job.owner)
        self.untidy(job.id)

    async def _finish(self, work_id: str, row: Job | None) -> bool:
        """Tell MLflow how it ended."""
        folder = self.folder(work_id)
        if row is not None and await asyncio.to_thread(folder.run_open.exists):
            try:
                await jobwork.end_run(self._mlflow, row)
            except NotReady:
                return False
        await asyncio.to_thread(remove, folder.run_open)
        return True

    def _leftovers(self) -> set[str]:
        jobs = self._settings.folder.jobs
        return {mark.parent.name for name in ("token", "run-open") for mark in jobs.glob(f"*/{name}")}


def attach(session: Session, job: Job, lease: Lease, now: datetime) -> None:
    """Give a job its lease and a new attempt; it starts from the next look on."""
    count = len(session.scalars(select(Attempt.id).where(Attempt.job_id == job.id)).all())
    session.add(Attempt(id=new_id(), job_id=job.id, number=count + 1, lease_id=lease.id, state="starting"))
    lease.claimed_at = now
    job.state, job.reason = "starting", note("preparing")


def outcome(ended: str, wanted_stop: bool, seen: Seen | None, tail: str) -> tuple[str, str | None]:
    """State and reason of a job whose lease ended as `ended`; `tail` is the end of its log."""
    why = seen.reason if seen is not None else None
    if seen is not None and seen.exit_code == 0 and why != Reason.STOPPED:
        return "succeeded", None
    if ended == "expired":
        return "failed", note("expired")
    if wanted_stop:
        return "stopped", note(ended if ended.partition(" ")[0] in STOPPED_BY else "asked")
    if why == Reason.STOPPED:
        return "stopped", note("portal_down")
    if ended == RAN_LONG:
        return "failed", note("no_checkpoint")
    if ended in _ALONE:
        return _ALONE[ended], note(ended if ended == own_server.ENDED else f"{ended}_end")
    if ended not in ("exited", "lost", "unclaimed"):
        return "failed", note("ended", ended)
    if seen is None or (seen.exit_code is None and why != Reason.NOT_EXECUTABLE):
        return "failed", note("lost")
    if seen.exit_code is not None and seen.exit_code < 0:
        return "failed", note("signal", f"{jobwork.signal_name(-seen.exit_code)}. {tail}")
    return "failed", note("exit", f"{seen.exit_code}. {tail}")


def _attempt(session: Session, lease: Lease) -> Attempt | None:
    return session.scalar(select(Attempt).where(Attempt.lease_id == lease.id))


def _moved(session: Session, job: Job) -> bool:
    """Whether it lost a GPU to a fault before: a job that breaks GPUs is not given a third."""
    tries = session.scalars(select(Attempt).where(Attempt.job_id == job.id, Attempt.ended_at.is_not(None)))
    return any(attempt.reason == note(FAULTY) for attempt in tries)


def _keep_run(session: Session, prepared: Job) -> None:
    job = session.get_one(Job, prepared.id)
    job.run_id, job.device = prepared.run_id, prepared.device


def _object(job: Job) -> str:
    return f"job:{job.owner}/{job.name}"

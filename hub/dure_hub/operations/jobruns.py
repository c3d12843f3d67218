"""What makes jobs run: the reconciler's subject for leases of purpose training.

A job is `queued` with a ticket, `starting` from its lease on, `running` once its process was seen or started. Each
step can be done again after a crash: the MLflow run is found by the job's id, the start is keyed by the lease.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError, NotReady
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason, Runs, Seen, TrainingBackend, TrainingWork
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations import admission, jobwork
from dure_hub.operations.background import Background
from dure_hub.operations.jobfiles import JobFolder
from dure_hub.operations.notes import note
from dure_hub.operations.people import USE
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.reconcile import forget
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Attempt, Job, Lease, Ticket

log = logging.getLogger(__name__)

Open = tuple[Job, Attempt, Lease]


class JobRuns:
    """Starts granted jobs, and closes those that ended."""

    purpose = admission.TRAINING
    kind = Kind.JOB
    keeps = True
    grace_s = 30.0

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
        self.runs: Runs = training
        self.kick: Callable[[], None] = _nothing
        """Asks for the next look at once; the reconciler's own, once there is one."""
        self._settings, self._store, self._clock = settings, store, clock
        self._profiles, self._snapshots, self._tokens = profiles, snapshots, tokens
        self._training, self._mlflow = training, mlflow
        self._background = Background(lambda: self.kick())
        self._untidy: set[str] | None = None

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """Its turn has come."""
        attach(session, session.get_one(Job, ticket.subject), lease, self._clock())

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """It waited too long."""
        job = session.get_one(Job, ticket.subject)
        job.state, job.reason, job.ended_at = "failed", note("gave_up"), self._clock()
        record(session, self._clock, PORTAL, "job.fail", _object(job), None, job.owner)

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Close attempt and job, with a reason that a person can use."""
        attempt = session.scalar(select(Attempt).where(Attempt.lease_id == lease.id))
        job = session.get(Job, lease.subject)
        if job is None or attempt is None or job.ended_at is not None:
            return
        tail = JobFolder(self._settings, job.id).tail()
        state, reason = outcome(lease.end_reason or "", job.wanted == "stop", seen, tail)
        self._close(session, job, attempt, state, reason, seen.exit_code if seen else None)

    async def stop(self, handle: Handle, reason: str) -> None:
        """Ask it to end; it may write a checkpoint first."""
        await self._training.stop(handle, self._settings.job_grace_s)

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """Start what was granted, note what runs, keep the log of what has exited, tidy up after what ended."""
        rows = await self._store.read(_open)
        for row in rows:
            try:
                await self._step(row, seen.get(row[2].id))
            except (DureError, OSError):
                log.exception("job %s; tried again in the next pass", row[0].id)
        await self._tidy({lease.id for _, _, lease in rows}, seen)

    async def close(self) -> None:
        """Cancel what is being prepared; the next portal goes on with it."""
        await self._background.close()

    async def _step(self, row: Open, what: Seen | None) -> None:
        job, attempt, lease = row
        if what is None and attempt.state == "starting" and lease.end_reason is None:
            await self._renew(lease.id)
            self._background.run(f"job {job.id}", partial(self._start, row))
        elif what is not None and what.phase is Phase.EXITED:
            await self._exited(job, attempt, what)
            self.kick()  # the second look closes it
        elif what is not None and attempt.state == "starting":
            await self._store.run(partial(self._running, job_id=job.id, handle=what.handle))

    async def _renew(self, lease_id: str) -> bool:
        return await self._store.run(lambda session: renew(session, lease_id, self._clock()))

    async def _start(self, row: Open) -> bool:
        job, _, lease = row
        handle: Handle | None = None
        try:
            work = await self._prepare(job, lease)
            if not await self._renew(lease.id):
                return True
            if self._settings.folder.closing.exists():
                return False
            async for handle in self._training.start(work):
                await self._store.run(partial(keep_handle, handle=handle))
            if handle is not None:
                await self._store.run(partial(self._running, job_id=job.id, handle=handle))
        except NotReady as error:
            why = note("part_away", error.facts.get("part"))
            await self._store.run(lambda session: _explain(session, job.id, why))
            return False
        except DureError as error:
            await self._give_up(row, handle, error.text())
        except OSError as error:
            log.exception("starting job %s", job.id)
            await self._give_up(row, handle, str(error))
        return True

    async def _prepare(self, job: Job, lease: Lease) -> TrainingWork:
        """Folder, code, MLflow run, token: all that the process finds when it starts."""
        folder = JobFolder(self._settings, job.id)
        await asyncio.to_thread(folder.create)
        if not await asyncio.to_thread(folder.code.is_dir):
            spare = await asyncio.to_thread(folder.spare)
            await self._snapshots.unpack(job.snapshot, spare)
            await asyncio.to_thread(spare.replace, folder.code)
        if job.run_id is None:
            await asyncio.to_thread(folder.run_open.touch, mode=0o600)
            job.device = jobwork.device_of(await self._profiles.fleet(), lease)
            job.run_id = await jobwork.make_run(self._mlflow, job, self._clock())
            await self._store.run(lambda session: _keep_run(session, job))
        if not await asyncio.to_thread(folder.token.exists):
            await asyncio.to_thread(folder.write_token, await self._mint(job, lease))
        return jobwork.work_of(self._settings, job, lease)

    async def _mint(self, job: Job, lease: Lease) -> str:
        lifetime = float(self._settings.max_lifetime_s)
        if lease.until is not None:
            lifetime = (lease.until - self._clock()).total_seconds() + self._settings.job_grace_s + 60
        _, text = await self._tokens.mint(
            job.owner, admin=False, scopes=(USE,), purpose="job", lifetime_s=lifetime, lease=lease.id, actor=PORTAL
        )
        return text

    async def _give_up(self, row: Open, handle: Handle | None, why: str) -> None:
        job, _, lease = row
        if handle is not None:
            await self._training.stop(handle, self._settings.stop_grace_s)

        def write(session: Session) -> None:
            if admission.end_lease(session, lease.id, "failed", self._clock()) is None:
                return
            fresh = session.get_one(Job, job.id)
            attempt = session.scalars(select(Attempt).where(Attempt.lease_id == lease.id)).one()
            self._close(session, fresh, attempt, "failed", note("start_failed", why), None)

        await self._store.run(write)

    def _running(self, session: Session, job_id: str, handle: Handle) -> None:
        job = session.get_one(Job, job_id)
        attempt = session.scalars(
            select(Attempt).where(Attempt.job_id == job_id, Attempt.state == "starting")
        ).first()
        if attempt is None:
            return
        keep_handle(session, handle)
        attempt.state, attempt.started_at = "running", self._clock()
        job.state, job.reason = "running", None
        record(session, self._clock, PORTAL, "job.start", _object(job), {"device": job.device}, job.owner)

    async def _exited(self, job: Job, attempt: Attempt, what: Seen) -> None:
        """Before the second look closes it: its log must be kept, for the reason is read from it."""
        if what.reason == Reason.NEVER_STARTED and attempt.state == "starting":
            await self._renew(attempt.lease_id)
            await self._training.forget(what.handle)  # nothing ran, so starting it is no second time
            return
        await self._keep_log(JobFolder(self._settings, job.id), what.handle)

    async def _keep_log(self, folder: JobFolder, handle: Handle) -> None:
        if await asyncio.to_thread(folder.log.exists):
            return
        await asyncio.to_thread(folder.create)
        await self._training.keep_log(handle, folder.log)

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
        if self._untidy is not None:
            self._untidy.add(job.id)

    async def _tidy(self, active: set[str], seen: Mapping[str, Seen]) -> None:
        """After the end: tell MLflow, remove token and code, forget the run. Tried again until it is done."""
        if self._untidy is None:
            self._untidy = await asyncio.to_thread(_leftovers, self._settings)
        for job_id in sorted(self._untidy):
            job = await self._store.read(partial(_job, job_id=job_id))
            if job is None or job.ended_at is not None:
                self._background.run(f"tidy {job_id}", partial(self._tidy_one, job_id, job))
            else:
                self._untidy.discard(job_id)  # it runs; its end puts it back
        for lease, what in seen.items():
            if what.phase is Phase.EXITED and lease not in active:
                of = await self._store.read(partial(_job_of, lease_id=lease))
                if of is not None:
                    await self._keep_log(JobFolder(self._settings, of), what.handle)
                await forget(self._training, what.handle)

    async def _tidy_one(self, job_id: str, job: Job | None) -> bool:
        folder = JobFolder(self._settings, job_id)
        await asyncio.to_thread(folder.token.unlink, missing_ok=True)
        await asyncio.to_thread(shutil.rmtree, folder.code, ignore_errors=True)
        if job is not None and await asyncio.to_thread(folder.run_open.exists):
            try:
                await jobwork.end_run(self._mlflow, job)
            except NotReady:
                return False  # it stays untidy: the next pass tries again
        await asyncio.to_thread(folder.run_open.unlink, missing_ok=True)
        assert self._untidy is not None  # noqa: S101 - filled before the first tidying
        self._untidy.discard(job_id)
        return True


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
        return "stopped", note("asked")
    if why == Reason.STOPPED:
        return "stopped", note("portal_down")
    if ended not in ("exited", "lost", "unclaimed"):
        return "failed", note("ended", ended)
    if seen is None or (seen.exit_code is None and why != Reason.NOT_EXECUTABLE):
        return "failed", note("lost")
    if seen.exit_code is not None and seen.exit_code < 0:
        return "failed", note("signal", f"{jobwork.signal_name(-seen.exit_code)}. {tail}")
    return "failed", note("exit", f"{seen.exit_code}. {tail}")


def renew(session: Session, lease_id: str, now: datetime) -> bool:
    """Count the reconciler's patience from now on; False where the lease is to end."""
    lease = session.get_one(Lease, lease_id)
    if lease.ended_at is not None or lease.end_reason is not None:
        return False
    lease.claimed_at = now
    return True


def keep_handle(session: Session, handle: Handle) -> None:
    """Write what is needed to find it again."""
    session.get_one(Lease, handle.lease).handle = dict(handle.where)


def _open(session: Session) -> Sequence[Open]:
    query = (
        select(Job, Attempt, Lease)
        .join(Attempt, Attempt.job_id == Job.id)
        .join(Lease, Lease.id == Attempt.lease_id)
        .where(Job.ended_at.is_(None), Attempt.ended_at.is_(None), Lease.ended_at.is_(None))
    )
    return [(job, attempt, lease) for job, attempt, lease in session.execute(query).all()]


def _explain(session: Session, job_id: str, reason: str) -> None:
    job = session.get_one(Job, job_id)
    if job.state == "starting":
        job.reason = reason


def _keep_run(session: Session, prepared: Job) -> None:
    job = session.get_one(Job, prepared.id)
    job.run_id, job.device = prepared.run_id, prepared.device


def _job(session: Session, job_id: str) -> Job | None:
    return session.get(Job, job_id)


def _job_of(session: Session, lease_id: str) -> str | None:
    return session.scalar(select(Attempt.job_id).where(Attempt.lease_id == lease_id))


def _leftovers(settings: Settings) -> set[str]:
    """Jobs with something to tidy up, as a portal that was killed may have left them."""
    return {mark.parent.name for name in ("token", "run-open") for mark in settings.folder.jobs.glob(f"*/{name}")}


def _object(job: Job) -> str:
    return f"job:{job.owner}/{job.name}"


def _nothing() -> None:
    return None

"""What makes executions run: the reconciler's subject for leases of purpose schedule.

An execution is `queued` with a ticket, `starting` from its lease on, `running` once its process was seen or
started. The lease's end is its limit: the reconciler asks it to end then, and the backend ends all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.backends.base import ExecutionBackend, ExecutionWork, Handle, Kind, Seen
from dure_hub.operations import admission
from dure_hub.operations.executionfiles import ExecutionFolder
from dure_hub.operations.jobruns import outcome
from dure_hub.operations.leasedwork import Begin, Item, LeasedWork, keep_handle
from dure_hub.operations.notes import note
from dure_hub.operations.schedule_rows import attach, close, execution_object
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import EXECUTION, Tokens
from dure_hub.operations.workfiles import common_environment
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Execution, Lease, Schedule, Ticket


class ExecutionRuns(LeasedWork[Execution]):
    """Starts granted executions, and closes those that ended."""

    purpose = admission.SCHEDULE
    kind = Kind.EXECUTION
    word = EXECUTION
    model = Execution

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        snapshots: Snapshots,
        tokens: Tokens,
        executions: ExecutionBackend,
    ) -> None:
        super().__init__(settings, store, clock, snapshots, tokens, executions)
        self._executions = executions

    @property
    def stop_s(self) -> float:
        """A notebook has nothing to save but what each cell saved."""
        return self._settings.stop_grace_s

    def folder(self, work_id: str) -> ExecutionFolder:
        """`executions/<id>/`."""
        return ExecutionFolder(self._settings, work_id)

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """Its turn has come."""
        attach(session.get_one(Execution, ticket.subject), lease, self._clock())

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """It waited too long."""
        self._close(session, session.get_one(Execution, ticket.subject), "failed", note("gave_up"))

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Close it, with a reason that a person can use, and where its notebook stopped."""
        execution = session.get(Execution, lease.subject)
        if execution is None or execution.ended_at is not None:
            return
        ended, last = lease.end_reason or "", self.last(lease)
        state, reason = outcome(ended, execution.wanted == "stop", seen, last.tail)
        failure = last.failure if state == "failed" else None
        if state == "failed" and ended == "expired":
            limit_s = session.get_one(Schedule, execution.schedule_id).limit_s
            reason, failure = note("limit", limit_s), _over_limit(failure, limit_s)
        elif failure is not None and failure.cell is not None and seen is not None and (seen.exit_code or 0) > 0:
            reason = note("cell", f"{failure.cell}: {failure.error}: {failure.message}")
        elif state == "stopped" and ended == "deleted":
            reason = note("deleted")
        execution.failure = failure.model_dump() if failure is not None else {}
        self._close(session, execution, state, reason, seen.exit_code if seen else None)

    def _failure(self, work_id: str) -> wire.Failure | None:
        return self.folder(work_id).failure()

    def _open(self, session: Session) -> Sequence[Item[Execution]]:
        query = (
            select(Execution, Lease)
            .join(Lease, Lease.id == Execution.lease_id)
            .where(Execution.ended_at.is_(None), Lease.ended_at.is_(None))
        )
        rows = session.execute(query).all()
        return [Item(execution, lease, execution.state == "starting") for execution, lease in rows]

    async def _prepare(self, item: Item[Execution]) -> Begin:
        """Code and token."""
        folder = self.folder(item.row.id)
        schedule = await self._store.read(lambda session: session.get_one(Schedule, item.row.schedule_id))
        await self._unpack(schedule.snapshot, folder)
        await self._give_token(item, folder)
        python, shared = await self._owners_place(schedule.owner, folder)
        work = work_of(self._settings, schedule, item, folder, python, shared)
        return partial(self._executions.start, work)

    def _started(self, session: Session, item: Item[Execution], handle: Handle) -> None:
        execution = session.get_one(Execution, item.row.id)
        if execution.state != "starting":
            return
        keep_handle(session, handle)
        execution.state, execution.reason, execution.started_at = "running", None, self._clock()
        thing = execution_object(session.get_one(Schedule, execution.schedule_id), execution)
        record(session, self._clock, PORTAL, "execution.start", thing, None, execution.owner)

    def _failed(self, session: Session, item: Item[Execution], reason: str) -> None:
        self._close(session, session.get_one(Execution, item.row.id), "failed", reason)

    def _close(
        self, session: Session, execution: Execution, state: str, reason: str | None, code: int | None = None
    ) -> None:
        close(session, execution, state, reason, self._clock(), exit_code=code)
        self.untidy(execution.id)

    def _leftovers(self) -> set[str]:
        places = self._settings.folder.executions
        return {
            mark.parent.name for name in ("token", "code", "code.new", "home") for mark in places.glob(f"*/{name}")
        }


def _over_limit(failure: wire.Failure | None, limit_s: int) -> wire.Failure | None:
    """Where the limit ended it. By its own account it was asked to stop, which is all that it can know."""
    if failure is None:
        return None
    return failure.model_copy(update={"error": wire.TIME_LIMIT, "message": f"It ran longer than {limit_s} s."})


def work_of(
    settings: Settings,
    schedule: Schedule,
    item: Item[Execution],
    folder: ExecutionFolder,
    python: str | None = None,
    shared: Sequence[str] = (),
) -> ExecutionWork:
    """What the backend starts. The token is in its file, never in the environment. `python` is its owner's own,
    and `shared` names the shared folders that they are admitted to.
    """
    environment = {
        **common_environment(settings, schedule.owner, folder, python),
        "DURE_EXECUTION": f"{schedule.name}/{item.row.number}",
        "MLFLOW_EXPERIMENT_NAME": f"{schedule.owner}/default",
    }
    return ExecutionWork(
        lease=item.lease.id,
        owner=schedule.owner,
        folder=folder.code,
        environment=environment,
        devices=admission.visible(item.lease),
        mps=admission.mps(item.lease),
        cores=admission.cores(item.lease),
        memory_mb=admission.memory_mb(item.lease),
        shared=shared,
        notebook=schedule.notebook,
        parameters=item.row.parameters,
        outputs=folder.outputs,
        token_file=folder.token,
        python=python,
    )

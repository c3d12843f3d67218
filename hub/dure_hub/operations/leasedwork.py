"""What jobs and executions share as subjects of the reconciler: prepare, start, keep the log, tidy up.

Each step can be done again after a crash of the portal: what is prepared appears whole, the start is keyed by the
lease, and what is left to tidy up is found on disk. A kind of work says how its rows change and what it needs.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from dure import wire
from dure.errors import DureError, NotReady
from dure_hub.backends.base import Handle, Kind, LogPiece, Phase, Reason, Runs, Seen
from dure_hub.isolation import pythons
from dure_hub.operations import admission, shared_folders
from dure_hub.operations.background import Background
from dure_hub.operations.carving import Carve, as_it_is
from dure_hub.operations.notes import note
from dure_hub.operations.people import USE
from dure_hub.operations.reconcile import forget
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.operations.workfiles import WorkFolder, tail
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL
from dure_hub.store.models import Execution, Job, Lease

log = logging.getLogger(__name__)

LOG_PIECE = 256 * 1024
_TAIL = 4096
T = TypeVar("T", Job, Execution)
Begin = Callable[[], AsyncIterator[Handle]]
"""Starts what was prepared."""


@dataclass(frozen=True)
class Item(Generic[T]):
    """Work on an active lease; `starting` until its process was seen or started."""

    row: T
    lease: Lease
    starting: bool


@dataclass(frozen=True)
class Last:
    """What it left, read before the transaction that closes it: the end of its log, where it says it failed."""

    tail: str = ""
    failure: wire.Failure | None = None


class LeasedWork(ABC, Generic[T]):
    """Starts what was granted, and closes what ended. A `reconcile.Subject` but for what its children say."""

    purpose: str
    kind: Kind
    word: str
    """What one is called in the log, and the purpose of its token."""
    model: type[T]
    keeps = True
    grace_s = 30.0

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, snapshots: Snapshots, tokens: Tokens, runs: Runs
    ) -> None:
        self.runs: Runs = runs
        self.kick: Callable[[], None] = _nothing
        """Asks for the next look at once; the reconciler's own, once there is one."""
        self.carve: Carve = as_it_is
        """Makes the MIG instances of a lease; the carver's own, once there is one."""
        self._settings, self._store, self._clock = settings, store, clock
        self._snapshots, self._tokens = snapshots, tokens
        self._background = Background(lambda: self.kick())
        self._untidy: set[str] | None = None
        self._last: dict[str, Last] = {}

    @property
    @abstractmethod
    def stop_s(self) -> float:
        """Seconds between asking one to end and ending it."""

    @abstractmethod
    def folder(self, work_id: str) -> WorkFolder:
        """Where it lies."""

    @abstractmethod
    def _open(self, session: Session) -> Sequence[Item[T]]:
        """Everything on an active lease that has not ended."""

    @abstractmethod
    async def _prepare(self, item: Item[T]) -> Begin:
        """Lay out all that the process finds when it starts. Done again after a crash."""

    @abstractmethod
    def _started(self, session: Session, item: Item[T], handle: Handle) -> None:
        """Its process is there: update its row, if that says it starts."""

    @abstractmethod
    def _failed(self, session: Session, item: Item[T], reason: str) -> None:
        """It could not start, and its lease has ended: update its row."""

    @abstractmethod
    def _leftovers(self) -> set[str]:
        """Ids of those with something to tidy up, as a portal that was killed may have left them."""

    def _failure(self, work_id: str) -> wire.Failure | None:
        """Where it says it failed; quick and blocking, and it raises nothing for whatever its code left."""
        return None

    async def _finish(self, work_id: str, row: T | None) -> bool:
        """What is left to do after the end; False to be called again in the next pass."""
        return True

    async def _owners_place(self, owner: str, folder: WorkFolder) -> tuple[str | None, Sequence[str]]:
        """The owner's own Python, where there is one, and the names of the shared folders laid into its home."""
        shared = await shared_folders.arrange(self._settings, self._store, owner, folder.home)
        return await asyncio.to_thread(pythons.program_of, self._settings, owner), shared

    async def stop(self, handle: Handle, reason: str) -> None:
        """Ask it to end, and end it after its time for that."""
        await self.runs.stop(handle, self.stop_s)

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """Start what was granted, note what runs, keep the log of what has exited, tidy up after what ended."""
        items = await self._store.read(self._open)
        for item in items:
            try:
                await self._step(item, seen.get(item.lease.id))
            except Exception:
                log.exception("%s %s; tried again in the next pass", self.word, item.row.id)
        active = {item.lease.id for item in items}
        self._last = {lease: last for lease, last in self._last.items() if lease in active}
        await self._tidy(active, seen)

    async def close(self) -> None:
        """Cancel what is being prepared; the next portal goes on with it."""
        await self._background.close()

    def untidy(self, work_id: str) -> None:
        """It has ended: what it leaves is removed from the next pass on."""
        if self._untidy is not None:
            self._untidy.add(work_id)

    def last(self, lease: Lease) -> Last:
        """What it left, as the pass before its end has read it; nothing where that pass did not get to it."""
        return self._last.pop(lease.id, Last())

    async def _step(self, item: Item[T], what: Seen | None) -> None:
        if what is None and item.starting and item.lease.end_reason is None:
            await self._renew(item.lease.id)
            self._background.run(f"{self.word} {item.row.id}", partial(self._start, item))
        elif what is not None and what.phase is Phase.EXITED:
            await self._exited(item, what)
            self.kick()  # the second look closes it
        elif what is not None and item.starting:
            await self._store.run(partial(self._started, item=item, handle=what.handle))
        elif what is None:  # gone without a trace: should the next look say so too, this is what it left
            failure = await asyncio.to_thread(self._failure, item.row.id)
            self._last[item.lease.id] = Last(failure=failure)

    async def _renew(self, lease_id: str) -> bool:
        return await self._store.run(lambda session: renew(session, lease_id, self._clock()))

    async def _start(self, item: Item[T]) -> bool:
        handle: Handle | None = None
        try:
            item.lease.slices = await self.carve(item.lease.id) or item.lease.slices
            begin = await self._prepare(item)
            if not await self._renew(item.lease.id):
                self.untidy(item.row.id)  # it ended meanwhile, perhaps before what was just laid out
                return True
            if self._settings.folder.closing.exists():
                return False
            async for handle in begin():
                await self._store.run(partial(keep_handle, handle=handle))
            if handle is not None:
                await self._store.run(partial(self._started, item=item, handle=handle))
        except NotReady as error:
            why = note("part_away", error.facts.get("part"))
            await self._store.run(partial(self._explain, work_id=item.row.id, reason=why))
            return False
        except DureError as error:
            await self._give_up(item, handle, error.text())
        except OSError as error:
            log.exception("starting %s %s", self.word, item.row.id)
            await self._give_up(item, handle, str(error))
        return True

    async def _unpack(self, snapshot: str, folder: WorkFolder) -> None:
        """The code, whole or not at all, and the folders beside it."""
        await asyncio.to_thread(folder.create)
        if not await asyncio.to_thread(folder.code.is_dir):
            spare = await asyncio.to_thread(folder.spare)
            await self._snapshots.unpack(snapshot, spare)
            await asyncio.to_thread(spare.replace, folder.code)

    async def _give_token(self, item: Item[T], folder: WorkFolder) -> None:
        """A token of its own, which ends with the lease."""
        if await asyncio.to_thread(folder.has_token):
            return
        lease = item.lease
        lifetime = float(self._settings.max_lifetime_s)
        if lease.until is not None:
            lifetime = (lease.until - self._clock()).total_seconds() + self.stop_s + 60
        _, text = await self._tokens.mint(
            item.row.owner,
            admin=False,
            scopes=(USE,),
            purpose=self.word,
            lifetime_s=lifetime,
            lease=lease.id,
            actor=PORTAL,
        )
        await asyncio.to_thread(folder.write_token, text)

    async def _give_up(self, item: Item[T], handle: Handle | None, why: str) -> None:
        if handle is not None:
            await self.runs.stop(handle, self._settings.stop_grace_s)

        def write(session: Session) -> None:
            if admission.end_lease(session, item.lease.id, "failed", self._clock()) is not None:
                self._failed(session, item, note("start_failed", why))

        await self._store.run(write)
        self.untidy(item.row.id)

    def _explain(self, session: Session, work_id: str, reason: str) -> None:
        row = session.get_one(self.model, work_id)
        if row.state == "starting":
            row.reason = reason

    async def _exited(self, item: Item[T], what: Seen) -> None:
        """Before the second look closes it: its log must be kept, for the reason is read from it."""
        if what.reason == Reason.NEVER_STARTED and item.starting:
            await self._renew(item.lease.id)
            await self.runs.forget(what.handle)  # nothing ran, so starting it is no second time
            return
        text = await self.runs.tail(what.handle, _TAIL)
        failure = await asyncio.to_thread(self._failure, item.row.id)
        self._last[item.lease.id] = Last(tail(text), failure)
        await self._keep_log(item.row.id, what.handle)

    async def _keep_log(self, work_id: str, handle: Handle) -> None:
        """In place of whatever its code has put there."""
        await self.runs.keep_log(handle, await asyncio.to_thread(self.folder(work_id).make_room))

    async def _tidy(self, active: set[str], seen: Mapping[str, Seen]) -> None:
        """After the end: remove token and code, forget the run. Tried again until it is done."""
        if self._untidy is None:
            self._untidy = await asyncio.to_thread(self._leftovers)
        for work_id in sorted(self._untidy):
            row = await self._store.read(partial(self._row, work_id=work_id))
            if row is None or row.ended_at is not None:
                self._background.run(f"tidy {work_id}", partial(self._tidy_one, work_id, row))
            else:
                self._untidy.discard(work_id)  # it runs; its end puts it back
        for lease, what in seen.items():
            if what.phase is Phase.EXITED and lease not in active:
                await self._forget(lease, what.handle)

    async def _forget(self, lease: str, handle: Handle) -> None:
        """Drop the run once its log is kept. Where that fails it stays, and holds up nobody."""
        try:
            of = await self._store.read(partial(_subject, lease_id=lease))
            # Its lease has ended, so what is kept is ours; the run's own may be half removed.
            if of is not None and not await asyncio.to_thread(self.folder(of).has_log):
                await self._keep_log(of, handle)
        except Exception:
            log.exception("the log of %s %s is not kept yet; tried again in the next pass", self.word, lease)
            return
        await forget(self.runs, handle)

    async def _tidy_one(self, work_id: str, row: T | None) -> bool:
        folder = self.folder(work_id)
        await asyncio.to_thread(folder.tidy)
        if not await self._finish(work_id, row):
            return False  # it stays untidy: the next pass tries again
        assert self._untidy is not None  # noqa: S101 - filled before the first tidying
        self._untidy.discard(work_id)
        return True

    def _row(self, session: Session, work_id: str) -> T | None:
        return session.get(self.model, work_id)


async def read_log(runs: Runs, folder: WorkFolder, handle: Handle | None, offset: int, over: bool) -> wire.LogPage:
    """A piece of a log from byte `offset`: what was kept at the end, else that of the running process.

    An `offset` below 0 counts from the end; the answer says which byte that is.
    """
    kept = await asyncio.to_thread(folder.piece, offset, LOG_PIECE) if over else None
    if kept is not None:
        piece, done = kept
    elif handle is None:
        piece, done = LogPiece("", max(offset, 0), max(offset, 0)), over
    else:
        piece = await runs.log(handle, offset, LOG_PIECE)
        done = over and piece.next_offset == piece.offset
    return wire.LogPage(text=piece.text, offset=piece.offset, next_offset=piece.next_offset, done=done)


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


def _subject(session: Session, lease_id: str) -> str | None:
    lease = session.get(Lease, lease_id)
    return lease.subject if lease is not None else None


def _nothing() -> None:
    return None

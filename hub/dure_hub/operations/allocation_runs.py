"""Allocations as the reconciler sees them. What runs under one is a pod outside, which nobody here sees or stops.

So an allocation counts as running from its grant until it is asked to end: by its owner, or because its time is
over. Every one has an end; nothing leaks where a pod is gone and nobody said so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError, NotReady
from dure_hub.backends.base import Handle, Kind, LogPiece, Phase, Runs, Seen
from dure_hub.operations import admission
from dure_hub.operations.background import Background
from dure_hub.operations.carving import Carve, as_it_is
from dure_hub.operations.gpu_errors import GpuGone
from dure_hub.operations.profiles import Profiles
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease, Ticket

log = logging.getLogger(__name__)

ALLOCATION = "allocation"
"""The purpose of their leases; the subject of one is `namespace/podName`."""
Slices = Sequence[Mapping[str, Any]]
_KIND = Kind.SERVER  # nothing of it is ever started by a backend, which is all that kinds are for


class OutsideRuns(Runs):
    """What pods outside hold, as far as the store knows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def seen(self) -> Sequence[Seen]:
        """Every allocation that nobody has asked to end."""
        query = select(Lease.id).where(
            Lease.purpose == ALLOCATION, Lease.ended_at.is_(None), Lease.end_reason.is_(None)
        )
        found = await self._store.read(lambda session: session.scalars(query).all())
        return [Seen(Handle(lease, _KIND), Phase.RUNNING) for lease in found]

    async def poll(self, handle: Handle) -> Seen:
        """As `seen` says."""
        there = {one.handle.lease for one in await self.seen()}
        return Seen(handle, Phase.RUNNING if handle.lease in there else Phase.GONE)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Nothing here can stop a pod outside; once it was asked to end, it is no longer seen."""

    async def forget(self, handle: Handle) -> None:
        """It leaves nothing behind."""

    async def log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        """It has no log here."""
        return LogPiece("", max(offset, 0), max(offset, 0))

    async def keep_log(self, handle: Handle, target: Path) -> None:
        """It has no log here."""
        await asyncio.to_thread(target.touch, 0o600)

    async def tail(self, handle: Handle, limit: int) -> str:
        """It has no log here."""
        return ""


class AllocationRuns:
    """The reconciler's `Subject` for allocations. They have no row of their own: ticket and lease say it all."""

    purpose = ALLOCATION
    kind = _KIND
    grace_s = 0.0
    keeps = False

    def __init__(self, store: Store, clock: Clock, profiles: Profiles) -> None:
        self.runs: Runs = OutsideRuns(store)
        self.kick: Callable[[], None] = _nothing
        """Asks for the next look at once; the reconciler's own, once there is one."""
        self.carve: Carve = as_it_is
        """Makes the MIG instances of a lease; the carver's own, once there is one."""
        self._store, self._clock, self._profiles = store, clock, profiles
        self._background = Background(lambda: self.kick())

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """The next `act` makes what it holds."""

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """Its ticket says so."""

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Its lease says so."""

    async def stop(self, handle: Handle, reason: str) -> None:
        """See `OutsideRuns.stop`."""

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """Make the MIG instances of what was granted, again where they have been lost."""
        held = await self._store.read(_held)
        if not held:
            return
        there = (await self._profiles.fleet()).instances
        for lease, slices in held:
            if not _are_made(slices, there):
                self._background.run(f"allocation {lease}", partial(self.make, lease))

    async def make(self, lease: str) -> bool:
        """Make the MIG instances of a lease; whether anything has changed.

        Where one cannot be made, the lease ends: it has no use. One that had all it holds waits while its GPU is
        not there, and all wait while no GPU is: a driver that does not answer says nothing about a pod outside.
        """
        try:
            return await self.carve(lease) is not None
        except NotReady:
            return False
        except DureError as error:
            log.warning("the MIG instances of allocation %s cannot be made: %s", lease, error)
            if isinstance(error, GpuGone) and await self._store.read(partial(_was_made, lease_id=lease)):
                return False
            await self._store.run(
                lambda session: admission.end_lease(session, lease, "start_failed", self._clock())
            )
            return True
        finally:
            self._profiles.forget()  # what it knows of is from before

    async def close(self) -> None:
        """Give up what is being made; the next portal goes on with it."""
        await self._background.close()


def is_made(lease: Lease, there: Collection[str]) -> bool:
    """Whether every MIG instance it holds is `there`: a restart of the machine forgets all of them."""
    return _are_made(lease.slices, there)


def _are_made(slices: Slices, there: Collection[str]) -> bool:
    return all(piece.get("visible") in there for piece in slices if piece.get("mig"))


def _held(session: Session) -> list[tuple[str, Slices]]:
    """The allocations that hold MIG instances, with what they hold."""
    query = select(Lease.id, Lease.slices).where(
        Lease.purpose == ALLOCATION, Lease.ended_at.is_(None), Lease.end_reason.is_(None)
    )
    return [
        (lease, slices) for lease, slices in session.execute(query) if any(piece.get("mig") for piece in slices)
    ]


def _was_made(session: Session, lease_id: str) -> bool:
    return all(piece.get("visible") for piece in session.get_one(Lease, lease_id).slices if piece.get("mig"))


def _nothing() -> None:
    return None

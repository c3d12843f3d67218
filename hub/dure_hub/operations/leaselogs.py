"""The log of a lease, also once its process is gone: what it ran wrote, server, job, execution or model server.

While it runs its backend has it; when the backend drops an ended run, it leaves the log in `log/leases/`. There it
stays for as long, and as many, as the settings say. It is its owner's and administrators': what somebody's code
prints is nobody else's to read, whoever pays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy.orm import Session

from dure import wire
from dure.errors import NotFound
from dure_hub.backends.base import Handle, LogPiece
from dure_hub.operations.leasedwork import LOG_PIECE
from dure_hub.operations.people import Person
from dure_hub.operations.reconcile import Subject
from dure_hub.operations.workfiles import WorkFolder, open_plain
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.models import Lease

log = logging.getLogger(__name__)

TIDY_S = 600.0
_MIB, _DAY_S = 1 << 20, 86400


@dataclass(frozen=True)
class Kept:
    """One file of a log that was kept: bytes on the disk, and seconds since the epoch of its last line."""

    path: Path
    size: int
    at: float


class LeaseLogs:
    """Reads them, and drops those that are old or too many."""

    def __init__(self, settings: Settings, store: Store, subjects: Sequence[Subject]) -> None:
        self._settings, self._store = settings, store
        self._subjects: Mapping[str, Subject] = {subject.purpose: subject for subject in subjects}

    async def read(self, person: Person, lease_id: str, offset: int) -> wire.LogPage:
        """A piece of it from byte `offset`, below 0 from the end. Raises `NotFound`, for others' leases too."""

        def find(session: Session) -> Lease:
            lease = session.get(Lease, lease_id)
            if lease is None or not (person.admin or lease.owner == person.name):
                raise NotFound(kind="lease", name=lease_id)
            return lease

        lease = await self._store.read(find)
        over = lease.ended_at is not None
        kept = await asyncio.to_thread(_File(self._settings.folder.lease_logs, lease_id).piece, offset, LOG_PIECE)
        subject = self._subjects.get(lease.purpose)
        if over and kept is not None:
            piece, done = kept
        elif subject is None:  # what runs elsewhere has no log here
            piece, done = LogPiece("", max(offset, 0), max(offset, 0)), over
        else:
            piece = await subject.runs.log(Handle(lease.id, subject.kind, lease.handle), offset, LOG_PIECE)
            done = over and piece.next_offset == piece.offset
        return wire.LogPage(text=piece.text, offset=piece.offset, next_offset=piece.next_offset, done=done)

    async def tidy(self) -> None:
        """Drop what is older, more, or larger than the settings keep; the oldest first."""
        await asyncio.to_thread(self._tidy)

    def _tidy(self) -> None:
        folder, settings = self._settings.folder.lease_logs, self._settings
        if not folder.is_dir():
            return
        found = [
            Kept(path, about.st_blocks * 512, about.st_mtime)
            for path in folder.iterdir()
            for about in [path.lstat()]
        ]
        oldest = time.time() - settings.lease_logs_days * _DAY_S
        for one in surplus(found, oldest, settings.lease_logs_kept, settings.lease_logs_mb * _MIB):
            one.path.unlink(missing_ok=True)


def surplus(found: Sequence[Kept], oldest: float, most: int, most_bytes: int) -> list[Kept]:
    """Those to drop: from before `oldest`, and those that do not fit beside newer ones that stay."""
    dropped, number, size = [], 0, 0
    for one in sorted(found, key=lambda kept: (-kept.at, kept.path.name)):
        if one.at < oldest or number >= most or size + one.size > most_bytes:
            dropped.append(one)
        else:
            number, size = number + 1, size + one.size
    return dropped


class _File(WorkFolder):
    def __init__(self, folder: Path, lease: str) -> None:
        super().__init__(folder)
        self._name = f"{lease}.log"

    def opened(self) -> IO[bytes] | None:
        """The log that was kept."""
        return open_plain(self.path, self._name)

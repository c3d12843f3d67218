"""Whether the disk has room for something new, what takes most of it, and a reserve for what must be written.

The free share is asked for at each decision: that costs microseconds. What the folders take is counted beside, in
a thread with a bound on its time, and told with its age. Homes are told to their owners and administrators only.

The reserve is a file that is deleted once nearly nothing is free: then stops, ends of leases and the ledger still
find room for what they write. SQLite needs some pages of its log for each; whoever fills the disk again after that
has filled it for good, which no reserve can help.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dure import wire
from dure.errors import Text
from dure_hub.operations.people import Person
from dure_hub.policies import disk
from dure_hub.policies.disk import MIB, Room
from dure_hub.policies.naming import slug
from dure_hub.policies.verdict import Verdict
from dure_hub.settings import RESERVE, Settings
from dure_hub.store import Clock

log = logging.getLogger(__name__)

LOOK_S = 2.0
_BOUND_S = 20.0
"""How long one count of the folders may take; what it has not come to by then is counted as at least so much."""
_SOON_S, _LATER_S = 30.0, 900.0
"""Between two counts: while starts are refused, and else."""
_FOLDERS = ("users", "jobs", "executions", "artifacts", "shares", "backup", "log", "db", "run")
_NAMED = 3
_NOT_YET: Text = {"en": "not counted yet", "ko": "아직 집계하지 않음"}


@dataclass(frozen=True)
class Sizes:
    """Bytes by folder, and of people's homes; names in `partly` have at least as much."""

    folders: Mapping[str, int] = field(default_factory=dict)
    homes: Mapping[str, int] = field(default_factory=dict)
    partly: frozenset[str] = frozenset()
    at: datetime | None = None


class Disk:
    """Looks at the file systems of data folder and artifacts."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        usage: Callable[[Path], tuple[int, int]] | None = None,
    ) -> None:
        self._settings, self._clock, self._monotonic = settings, clock, monotonic
        self._usage = usage or _usage
        self._sizes = Sizes()
        self._counted: float | None = None
        self._full = False
        self._counting: asyncio.Task[None] | None = None
        self._over = threading.Event()
        self._reserve = settings.folder.db / RESERVE[0]

    async def why_full(self) -> Verdict | None:
        """Why nothing may start now, with the largest folders in its facts; None where there is room."""
        verdict = await asyncio.to_thread(self._verdict)
        if verdict.allowed:
            return None
        return Verdict.no(verdict.code, **verdict.facts, largest=self._largest())

    async def keep_reserve(self) -> None:
        """Let the reserve go where it is needed, set it aside again where there is room, and count the folders."""
        await asyncio.to_thread(self._keep_reserve)
        full = not (await asyncio.to_thread(self._verdict)).allowed
        every = _SOON_S if full else _LATER_S
        # once it is full, what took the room is asked for at once
        due = self._counted is None or full > self._full or self._monotonic() - self._counted >= every
        self._full = full
        if due and (self._counting is None or self._counting.done()):
            self._counted = self._monotonic()
            self._counting = asyncio.create_task(self._count(), name="count folders")

    async def shown(self, person: Person) -> wire.Disk:
        """The fullest file system, and the folders; the homes of all for an administrator, else one's own."""
        rooms = await asyncio.to_thread(self._rooms)
        worst = min(rooms, key=lambda one: one.percent)
        verdict, sizes = self._judged(rooms), self._sizes
        mine = slug(person.name)
        homes = {name: size for name, size in sizes.homes.items() if person.admin or name == mine}
        return wire.Disk(
            starts=verdict.allowed,
            place=worst.place,
            free=worst.free,
            total=worst.total,
            free_percent=worst.percent,
            limit_percent=self._settings.disk_minimum_percent,
            minimum_mb=self._settings.disk_minimum_mb,
            folders=_listed(sizes.folders, sizes.partly),
            homes=_listed(homes, sizes.partly, "users/"),
            measured_at=sizes.at,
        )

    async def close(self) -> None:
        """Count no more."""
        self._over.set()
        if self._counting is not None:
            await asyncio.gather(self._counting, return_exceptions=True)

    def _verdict(self) -> Verdict:
        return self._judged(self._rooms())

    def _judged(self, rooms: list[Room]) -> Verdict:
        """What was let go of the reserve is for what must be written, and no room for anything new."""
        bounds = self._settings.disk_minimum_percent, self._settings.disk_minimum_mb
        verdict = disk.enough(rooms, *bounds)
        owed = 0 if self._reserve.exists() else self._settings.disk_reserve_mb * MIB
        if not verdict.allowed or not owed:
            return verdict
        less = [replace(one, free=max(one.free - owed, 0)) if one.place == "data" else one for one in rooms]
        return disk.enough(less, *bounds)

    def _rooms(self) -> list[Room]:
        places = {"data": self._settings.folder.root, "artifacts": self._artifacts()}
        return [Room(name, *self._usage(path)) for name, path in places.items()]

    def _artifacts(self) -> Path:
        place = Path(self._settings.artifacts.removeprefix("file://"))
        return place if place.is_dir() else self._settings.folder.root

    def _largest(self) -> Any:
        """The largest folders, or that they are not counted yet, which is a text in each language."""
        sizes = self._sizes
        listed = _listed(sizes.folders, sizes.partly)[:_NAMED]
        told = (f"{one.folder} {'≥' if one.at_least else ''}{one.size // MIB} MiB" for one in listed)
        return ", ".join(told) or _NOT_YET

    def _keep_reserve(self) -> None:
        """Nothing here raises for a full disk: this is what helps it."""
        size, settings = self._settings.disk_reserve_mb * MIB, self._settings
        free, total = self._usage(settings.folder.db)
        there = self._reserve.exists()
        if there and (size == 0 or disk.lets_go(free, size)):
            self._reserve.unlink(missing_ok=True)
            log.warning("the disk is full: its reserve of %d MiB was let go", size // MIB)
        elif (
            not there
            and size
            and disk.takes(free, total, size, settings.disk_minimum_percent, settings.disk_minimum_mb)
        ):
            _set_aside(self._reserve, size)

    async def _count(self) -> None:
        self._sizes = await asyncio.to_thread(self._sized)

    def _sized(self) -> Sizes:
        """Each folder has its part of the time, so that one with a million files hides no other."""
        folder, deadline = self._settings.folder, time.monotonic() + _BOUND_S
        places = {f"{name}/": folder.root / name for name in _FOLDERS}
        places["artifacts/"] = self._artifacts()
        homes = {path.name: path for path in _subfolders(folder.users)}
        every = [*((name, path) for name, path in places.items() if name != "users/"), *homes.items()]
        found: dict[str, int] = {}
        partly: set[str] = set()
        for number, (name, path) in enumerate(every):
            now = time.monotonic()
            until = now + max(deadline - now, 0) / (len(every) - number)
            found[name], whole = _size(path, until, self._over)
            if not whole:
                partly.add(name)
        sums = {name: found[name] for name in places if name in found}
        sums["users/"] = sum(found[name] for name in homes)
        if any(name in partly for name in homes):
            partly.add("users/")
        return Sizes(sums, {name: found[name] for name in homes}, frozenset(partly), self._clock())


def _usage(path: Path) -> tuple[int, int]:
    """Free and all bytes. What only root may still use is not free to the portal's people."""
    found = shutil.disk_usage(path)
    return found.free, found.total


def _set_aside(place: Path, size: int) -> None:
    temporary = place.with_suffix(".new")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
            os.posix_fallocate(file.fileno(), 0, size)
        temporary.replace(place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        log.warning("no reserve of disk can be set aside: %s", error)


def _subfolders(path: Path) -> Iterator[Path]:
    try:
        yield from (Path(one.path) for one in os.scandir(path) if one.is_dir(follow_symlinks=False))
    except OSError:
        return


def _size(path: Path, until: float, over: threading.Event) -> tuple[int, bool]:
    """Bytes that files below this take of the disk, and whether all were counted. Follows no link."""
    total, whole, open_folders = 0, True, [path]
    while open_folders:
        if time.monotonic() >= until or over.is_set():
            return total, False
        try:
            with os.scandir(open_folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError:
            whole = False
    return total, whole


def _listed(sizes: Mapping[str, int], partly: frozenset[str], before: str = "") -> list[wire.DiskFolder]:
    ordered = sorted(sizes.items(), key=lambda one: (-one[1], one[0]))
    return [
        wire.DiskFolder(folder=f"{before}{name}", size=size, at_least=name in partly) for name, size in ordered
    ]

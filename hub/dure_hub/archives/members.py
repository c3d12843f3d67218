"""What of a data folder goes into a backup, found without following a link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dure_hub.isolation.walking import folders_below
from dure_hub.supervisor.swap import MARK

MADE_ANEW = frozenset({"run", "envoy", "log/", "backup", "given", "db", "db.upgrading", "db.upgrading.lock", MARK})
"""At the top of a data folder: what a portal makes anew, earlier copies, and the databases, which are copied.

With a slash at its end it is the files of a folder, and not the folders in it: logs of services, and not of work.
"""
HOMES = "users"
_SHOWN = 400
_HOLES, _THIN = 2**30, 100
"""Of a file that is left out: more holes than these bytes, and so many times as long as what is written of it.

A file system that compresses holds less, too, but not by so much.
"""


@dataclass(frozen=True)
class Member:
    """Something found. `folder` is an open descriptor of where it lies, good until the next is asked for."""

    name: str
    folder: int
    status: os.stat_result
    home: int | None = None
    """Whose home it lies in, by number."""

    @property
    def base(self) -> str:
        """Its own name, without the way to it."""
        return self.name.rpartition("/")[2]

    def foreign(self, status: os.stat_result) -> bool:
        """Whether it is another name for a file of somebody else's, which its own owner may not be able to read.

        A portal that is root could read it, and would give it to them with the restored home.
        """
        return self.home not in (None, status.st_uid) and status.st_nlink > 1


def hollow(status: os.stat_result) -> bool:
    """Whether next to nothing of a very long file was ever written: somebody set its length.

    It takes no room where it is, and would take all of it in a backup, or where that is restored.
    """
    written = status.st_blocks * 512
    return status.st_size - written > _HOLES and status.st_size > _THIN * written


@dataclass
class LeftOut:
    """What a backup goes without."""

    names: list[str] = field(default_factory=list)


def walk(root: Path, skip: frozenset[str], left: LeftOut) -> Iterator[Member]:
    """Every file, folder and link below `root`, a folder before what is in it, but for `skip` (as `MADE_ANEW`).

    Names are relative. Sockets, pipes and devices are left out without a word: they are of processes that run.
    What may not be read is noted in `left`; what goes away meanwhile is not there. A folder that is swapped for a
    link is not entered.
    """

    def trouble(why: OSError) -> None:
        if why.errno != errno.ENOENT:
            left.names.append(str(why.filename).rstrip("/")[:_SHOWN])

    homes: dict[str, int] = {}
    for found in folders_below(root, trouble):
        way, folders, files = found.way, found.folders, found.files
        if not way:
            folders[:] = [name for name in folders if name not in skip]
            files = [name for name in files if name not in skip]
        elif way in skip:
            files = []
        for name in [*folders, *files]:
            try:
                status = os.stat(name, dir_fd=found.descriptor, follow_symlinks=False)
            except OSError as why:  # a folder may be one to read and not to pass
                trouble(OSError(why.errno, why.strerror, way + name))
                continue
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
                if way == f"{HOMES}/":
                    homes[name] = status.st_uid
                home = homes.get(way.split("/")[1]) if way.startswith(f"{HOMES}/") else None
                yield Member(way + name, found.descriptor, status, home)


def skipped(homes: bool) -> frozenset[str]:
    """What to skip at the top of a data folder."""
    return MADE_ANEW if homes else MADE_ANEW | {HOMES}


def measure(root: Path, skip: frozenset[str]) -> tuple[int, int]:
    """How many files there are, and their bytes together, as of now."""
    files = (one.status for one in walk(root, skip, LeftOut()) if stat.S_ISREG(one.status.st_mode))
    sizes = [status.st_size for status in files if not hollow(status)]
    return len(sizes), sum(sizes)

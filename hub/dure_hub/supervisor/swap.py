"""A folder takes another's place at once: whoever looks, or is killed, finds the one or the other, whole."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dure_hub.isolation.removal import remove_tree
from dure_hub.supervisor.errors import SomebodyElseWorks

MARK = ".unfinished"
"""A file in a folder that is being made. A folder without it is whole, and is never removed."""
_AT_FDCWD, _EXCHANGE = -100, 2
_UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def making(place: Path) -> Iterator[Path]:
    """A new folder of mode 700 at `place`, marked as unfinished, removed at the end unless it was put elsewhere.

    What a killed one left there is removed first. Raises `SomebodyElseWorks` while another process makes it.
    """
    with alone(place):
        put_away(place)
        place.mkdir(mode=0o700, parents=True)
        (place / MARK).touch(mode=0o600)
        try:
            yield place
        finally:
            if (place / MARK).exists():
                remove_tree(place)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Nobody else makes a folder at `place` meanwhile. Raises `SomebodyElseWorks`.

    The lock beside it is removed at the end: so what was locked may be a removed one.
    """
    path = place.with_name(f"{place.name}.lock")
    while True:
        guard = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SomebodyElseWorks(place=str(place)) from None
            if path.exists() and path.stat().st_ino == os.fstat(guard).st_ino:
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(guard)


def put_away(place: Path) -> None:
    """Remove what an interrupted maker left; a whole folder that stands there gets a name of its own."""
    if (place / MARK).exists():
        remove_tree(place)
    elif place.exists():
        place.rename(aside(place, "found"))


def put(made: Path, place: Path, old: Path) -> None:
    """`made` becomes `place`, and what was there becomes `old`, a new name on the same file system.

    At once: before it, `made` may have the name `old` already, with the mark in it, which `clear` removes. Only
    where the file system cannot swap folders is `place` missing between two renames, for `recover` to finish.
    """
    (place / MARK).unlink(missing_ok=True)
    if not place.exists() or not any(place.iterdir()):
        made.rename(place)  # in place of an empty folder, too
        (place / MARK).unlink()
    else:
        _swap(made, place, old)
    for parent in {place.parent, old.parent}:
        sync(parent)


def _swap(made: Path, place: Path, old: Path) -> None:
    made.rename(old)
    try:
        _exchange(old, place)
    except OSError as why:
        old.rename(made)
        if why.errno not in _UNABLE:
            raise
        (made / MARK).unlink()
        place.rename(old)
        made.rename(place)
    else:
        (place / MARK).unlink()


def clear(names: Iterable[Path]) -> None:
    """Remove those that were never put in place: the ones with the mark in them."""
    for path in names:
        if (path / MARK).exists():
            remove_tree(path)


def recover(made: Path, place: Path) -> bool:
    """Finish what was interrupted between the two renames; whether there was something to finish."""
    if place.exists() or not made.exists() or (made / MARK).exists():
        return False
    made.rename(place)
    return True


def finish(made: Path, place: Path, old: Path) -> None:
    """Do what is left of a `put` that was killed anywhere; of one that ended, nothing."""
    if not made.exists() and (old / MARK).exists():
        old.rename(made)
    if not recover(made, place):
        if made.exists():
            (made / MARK).touch(mode=0o600)
            put(made, place, old)
        (place / MARK).unlink(missing_ok=True)
    for parent in {place.parent, old.parent}:
        sync(parent)


def aside(place: Path, word: str) -> Path:
    """A free name beside `place` that says what was put there, and when."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    names = [f"{place.name}.{word}-{stamp}", *(f"{place.name}.{word}-{stamp}-{n}" for n in range(2, 1000))]
    return next(path for name in names if not (path := place.with_name(name)).exists())


def _exchange(one: Path, other: Path) -> None:
    """Both names at once (Linux's renameat2)."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


def sync(folder: Path) -> None:
    """The names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

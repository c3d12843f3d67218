"""A person's folder of the old hub: looked at, and copied without following a single link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dure_hub.importing.errors import BadPattern
from dure_hub.isolation.walking import FOLDER, Folder, folders_below, open_below

_PIECE = 1 << 20
_PART = ".dure-part"


@dataclass
class Copied:
    """What a copy has come to: links are copied as links; sockets, pipes, devices and others' files are not."""

    files: int = 0
    size: int = 0
    links: int = 0
    left_out: int = 0
    again: int = 0
    """Files that an earlier run had copied already."""


@dataclass(frozen=True)
class Home:
    """Where a person's folder should be, and whether it is there."""

    path: Path | None
    state: Literal["found", "empty", "missing", "unknown"]


def home_of(pattern: str | None, username: str) -> Home:
    """The folder that the pattern names for this person; `unknown` without a pattern.

    A name that would lead elsewhere (`..`, a slash) has no home by a pattern.
    """
    if pattern is None:
        return Home(None, "unknown")
    if not pattern.startswith("/") or pattern.replace("{username}", "").count("{") or "{username}" not in pattern:
        raise BadPattern(option="--homes", value=pattern, why="it is no absolute path with {username} in it")
    if "/" in username or username in ("", ".", "..") or "\0" in username:
        return Home(None, "missing")
    path = Path(pattern.replace("{username}", username))
    try:
        found = os.open(path, FOLDER)
    except OSError:
        return Home(path, "missing")
    try:
        with os.scandir(found) as entries:
            return Home(path, "found" if any(True for _ in entries) else "empty")
    finally:
        os.close(found)


def size_of(home: Path) -> int:
    """Bytes of all plain files below, hard links counted each time."""
    total = 0
    for found in folders_below(home, lambda _unreadable: None):
        for name in found.files:
            try:
                about = os.stat(name, dir_fd=found.descriptor, follow_symlinks=False)
            except OSError:
                continue
            total += about.st_size if stat.S_ISREG(about.st_mode) else 0
    return total


def copy_home(source: Path, target: Path, told: Callable[[Copied], None] = lambda _so_far: None) -> Copied:
    """Copy a folder with modes and times; what an earlier run has copied stays, if it has not changed since.

    Every part of the way is opened as what it is, so that a link that is put there meanwhile leads nowhere. The
    owner becomes who copies; a bit that would make a program run as its owner is dropped. Raises `OSError`.
    """
    done = Copied()
    target.mkdir(mode=0o700, exist_ok=True)
    owner, seen = source.lstat().st_uid, []
    for found in folders_below(source):
        new = open_below(target, found.way)
        try:
            _folder(found, new, done, told, owner)
        finally:
            os.close(new)
        seen.append((found.way, os.fstat(found.descriptor)))
    for way, about in reversed(seen):  # at the end: what is written into a folder changes its time, or is refused
        copy = open_below(target, way)
        try:
            _like(about, copy)
        finally:
            os.close(copy)
    return done


def _folder(found: Folder, new: int, done: Copied, told: Callable[[Copied], None], owner: int) -> None:
    old = found.descriptor
    for name in found.folders:
        with contextlib.suppress(FileExistsError):  # an earlier run made it; opened below, it must be a folder
            os.mkdir(name, 0o700, dir_fd=new)
    for name in found.files:
        about = os.stat(name, dir_fd=old, follow_symlinks=False)
        if stat.S_ISREG(about.st_mode):
            _file(name, old, new, done, owner)
            told(done)
        elif stat.S_ISLNK(about.st_mode):
            _link(name, old, new, about)
            done.links += 1
        else:
            done.left_out += 1


def _file(name: str, old: int, new: int, done: Copied, owner: int) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=old)
    try:
        about = os.fstat(source)
        # another name for a file of somebody else's, which the home's owner may not be able to read
        foreign = about.st_nlink > 1 and about.st_uid != owner
        if foreign or not stat.S_ISREG(about.st_mode):
            done.left_out += 1
            return
        done.files += 1
        done.size += about.st_size
        if _same(name, new, about):
            done.again += 1
            return
        part = _PART + name[-200:]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(part, flags, 0o600, dir_fd=new)
        try:
            while piece := os.read(source, _PIECE):
                left = memoryview(piece)
                while left:
                    left = left[os.write(copy, left) :]
            os.fsync(copy)
            _like(about, copy)
        finally:
            os.close(copy)
        os.replace(part, name, src_dir_fd=new, dst_dir_fd=new)
    finally:
        os.close(source)


def _same(name: str, new: int, about: os.stat_result) -> bool:
    try:
        there = os.stat(name, dir_fd=new, follow_symlinks=False)
    except FileNotFoundError:
        return False
    plain = stat.S_ISREG(there.st_mode)
    return plain and (there.st_size, there.st_mtime_ns) == (about.st_size, about.st_mtime_ns)


def _link(name: str, old: int, new: int, about: os.stat_result) -> None:
    leads = os.readlink(name, dir_fd=old)
    try:
        os.symlink(leads, name, dir_fd=new)
    except FileExistsError:
        if os.readlink(name, dir_fd=new) != leads:
            raise
    times = (about.st_atime_ns, about.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=new, follow_symlinks=False)


def _like(about: os.stat_result, copy: int) -> None:
    os.fchmod(copy, stat.S_IMODE(about.st_mode) & 0o777)
    os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns))

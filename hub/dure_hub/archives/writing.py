"""Writes an archive: beside its name until it is whole, and whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dure_hub.archives import CONTENTS, FORMAT
from dure_hub.archives.errors import BadPlace
from dure_hub.archives.members import LeftOut, Member, hollow
from dure_hub.supervisor.errors import SomebodyElseWorks

SMALL = 4 * 2**20
_TRIES = 3
_LEVEL = 1
"""Of gzip: homes shrink well, model files hardly, and a higher one is several times as slow."""


@contextmanager
def writing(file: Path, progress: Callable[[int], None]) -> Iterator[Writer]:
    """A writer of `file`, which appears when the block ends; after an exception, or a kill, it never does.

    `progress` is told of every piece, in bytes. Raises `SomebodyElseWorks` while another process writes it, and
    `BadPlace` where somebody else's file has its place until then.
    """
    partial = file.with_name(f"{file.name}.partial")
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as out:
        _check_own(partial, os.fstat(handle))
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SomebodyElseWorks(place=str(file)) from None
        try:
            os.fchmod(out.fileno(), 0o600)
            out.truncate(0)  # what a killed one had left
            with (
                gzip.GzipFile("", "wb", _LEVEL, out, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=2**20) as tar,
            ):
                writer = Writer(tar, progress)
                yield writer
                writer.finish()
            out.flush()
            os.fsync(out.fileno())
            _name(partial, file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
            raise


def _check_own(partial: Path, found: os.stat_result) -> None:
    """Who made the file before us could read all that is written into it."""
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
        why = {
            "en": "somebody else has put a file there; remove it, or name a folder that only you can write in",
            "ko": "다른 사람이 둔 파일이 있습니다. 지우거나 본인만 쓸 수 있는 폴더를 지정하세요",
        }
        raise BadPlace(place=str(partial), reason=why)


class Writer:
    """What goes into an archive, and the list of it."""

    def __init__(self, tar: tarfile.TarFile, progress: Callable[[int], None]) -> None:
        self._tar, self._progress = tar, progress
        self.files: dict[str, tuple[int, str]] = {}
        self.links: dict[str, str] = {}
        self.changed: list[str] = []
        self.left = LeftOut()

    def text(self, name: str, value: Mapping[str, Any]) -> None:
        """A file of JSON."""
        self._add(_info(name, 0o600, time.time()), io.BytesIO(json.dumps(value, indent=1).encode()))

    def file(self, name: str, path: Path) -> None:
        """A file of our own that nobody changes meanwhile."""
        with path.open("rb") as source:
            self._add(_info(name, 0o600, time.time()), source, os.fstat(source.fileno()).st_size)

    def member(self, prefix: str, one: Member) -> None:
        """What was found in a folder that others write to."""
        if stat.S_ISDIR(one.status.st_mode):
            self._tar.addfile(_info(prefix + one.name, one.status.st_mode, one.status.st_mtime, tarfile.DIRTYPE))
        elif stat.S_ISLNK(one.status.st_mode):
            with contextlib.suppress(OSError):  # it is gone, or something else by now
                self.links[prefix + one.name] = os.readlink(one.base, dir_fd=one.folder)
        else:
            self._changing(prefix + one.name, one)

    def finish(self) -> None:
        """The list of all, as the last file."""
        contents = {
            "format": FORMAT,
            "files": self.files,
            "links": self.links,
            "changed": self.changed,
            "left_out": self.left.names,
        }
        data = json.dumps(contents).encode()
        info = _info(CONTENTS, 0o600, time.time())
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))

    def _changing(self, name: str, one: Member) -> None:
        try:
            handle = os.open(one.base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=one.folder)
        except FileNotFoundError:
            return
        except OSError:
            self.left.names.append(name)
            return
        with os.fdopen(handle, "rb") as source:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return
            if one.foreign(status) or hollow(status):
                self.left.names.append(name)
                return
            info = _info(name, status.st_mode, status.st_mtime)
            if status.st_size <= SMALL:
                data, steady = _steady(source)
                self._add(info, io.BytesIO(data))
            else:
                self._add(info, source, status.st_size)
                steady = _same(status, os.fstat(handle))
            if not steady:
                self.changed.append(name)

    def _add(self, info: tarfile.TarInfo, source: IO[bytes], size: int | None = None) -> None:
        info.size = len(source.getbuffer()) if isinstance(source, io.BytesIO) else size or 0
        reader = _Reader(source, info.size, self._progress)
        self._tar.addfile(info, reader)  # type: ignore[arg-type]  # it only reads
        self.files[info.name] = (info.size, reader.digest.hexdigest())


class _Reader:
    """As many bytes as the tar header says: of a file that grows its beginning, of one that shrinks zeros then."""

    def __init__(self, source: IO[bytes], size: int, progress: Callable[[int], None]) -> None:
        self._source, self._left, self._progress = source, size, progress
        self.digest = hashlib.sha256()

    def read(self, limit: int) -> bytes:
        wanted = min(limit, self._left)
        data = self._source.read(wanted)
        data += bytes(wanted - len(data))
        self._left -= wanted
        self.digest.update(data)
        self._progress(wanted)
        return data


def _steady(source: IO[bytes]) -> tuple[bytes, bool]:
    """A small file as it was between two writes, and whether there was such a moment."""
    for _ in range(_TRIES):
        before = os.fstat(source.fileno())
        source.seek(0)
        data = source.read(16 * SMALL)
        if _same(before, os.fstat(source.fileno())) and len(data) == before.st_size:
            return data, True
    return data, False


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _info(name: str, mode: int, at: float, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """Without owner: it is the one who restores."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime, info.type = stat.S_IMODE(mode) & 0o777, int(at), kind
    return info


def _name(partial: Path, file: Path) -> None:
    """Give it its name, which by now somebody else may have taken: unlike a rename, a link overwrites nothing."""
    try:
        os.link(partial, file)
    except OSError as why:
        if why.errno not in (errno.EPERM, errno.ENOTSUP) or file.exists():
            raise
        partial.rename(file)  # a file system without links
    else:
        partial.unlink()
    _sync(file.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

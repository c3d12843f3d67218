"""Uploads of code and data for jobs: zips named by their SHA-256, kept once, unpacked with care."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path, PurePosixPath

from dure.errors import NotFound
from dure.wire.ids import new_id
from dure_hub.backends.base import ArtifactBackend
from dure_hub.operations.disk_errors import NoRoomOnDisk
from dure_hub.operations.errors import BadSnapshot, DiskFull, SnapshotTooLarge
from dure_hub.policies.verdict import Verdict
from dure_hub.settings import Settings

_FILES = 20_000
_GROWTH = 8  # an unpacked snapshot may be this many times the limit of the packed one
_PIECE = 1 << 20
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a way of packing that Python cannot read
    RuntimeError,  # it wants a password
    NotADirectoryError,  # one name as file and as folder
    IsADirectoryError,
    FileExistsError,
)
_UNLIKE = ("is not what its name says", "이름(해시)과 내용이 다릅니다")
_NO_ZIP = ("it is no zip file", "zip 파일이 아닙니다")
_PATH = (
    "it holds a path outside of its folder, or no plain file",
    "폴더 밖의 경로나 일반 파일이 아닌 것이 있습니다",
)


class Snapshots:
    """Content-addressed zips in the artifact store."""

    def __init__(self, settings: Settings, artifacts: ArtifactBackend) -> None:
        self._artifacts = artifacts
        self._incoming = settings.folder.uploads
        self._limit_mb = settings.snapshot_limit_mb
        self._minimum_mb = settings.disk_minimum_mb
        self.full: Callable[[], Awaitable[Verdict | None]] = _room
        """Why nothing may be kept now; the disk's own, once there is one."""

    def path(self, digest: str) -> Path:
        """A local file with this snapshot, to read. Raises `NotFound`."""
        try:
            return self._artifacts.fetch(_name(digest))
        except FileNotFoundError as error:
            raise NotFound(kind="snapshot", name=digest[:12]) from error

    def has(self, digest: str) -> bool:
        """Whether it is here, whole."""
        return self._artifacts.has(_name(digest))

    async def put(self, digest: str, stream: AsyncIterator[bytes]) -> bool:
        """Keep what is streamed, if it is what `digest` says and within the limit; else keep nothing.
        Whether it is new.

        It appears under its name only when whole. Sending what is here already is no error, and is not read.
        Raises `NoRoomOnDisk`, and `DiskFull` where the largest upload would leave too little of the disk, before
        anything is read.
        """
        if await asyncio.to_thread(self.has, digest):
            return False
        full = await self.full()
        if full is not None:
            raise NoRoomOnDisk(**full.facts)
        await asyncio.to_thread(self._need_room)
        temporary = self._incoming / f"{new_id()}.part"
        try:
            await self._receive(digest, stream, temporary)
            await asyncio.to_thread(self._artifacts.keep, _name(digest), temporary)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    async def unpack(self, digest: str, folder: Path) -> None:
        """Unpack into `folder`, which is made. Nothing is ever written outside of it.

        Raises `BadSnapshot` or `SnapshotTooLarge` before anything is written where its table of contents says so.
        """
        await asyncio.to_thread(self._unpack, digest, folder)

    async def read(self, digest: str, name: str, limit: int) -> bytes | None:
        """One file of it, of at most `limit` bytes and one more; None where it has none of that name."""
        return await asyncio.to_thread(self._read, digest, name, limit)

    async def _receive(self, digest: str, stream: AsyncIterator[bytes], temporary: Path) -> None:
        seen, size = hashlib.sha256(), 0
        with temporary.open("xb") as out:
            os.fchmod(out.fileno(), 0o600)
            async for piece in stream:
                size += len(piece)
                if size > self._limit_mb << 20:
                    raise SnapshotTooLarge(limit_mb=self._limit_mb)
                seen.update(piece)
                await asyncio.to_thread(out.write, piece)
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        if seen.hexdigest() != digest:
            raise BadSnapshot(digest=digest[:12], why_en=_UNLIKE[0], why_ko=_UNLIKE[1])
        if not zipfile.is_zipfile(temporary):
            raise BadSnapshot(digest=digest[:12], why_en=_NO_ZIP[0], why_ko=_NO_ZIP[1])

    def _need_room(self) -> None:
        free = min(shutil.disk_usage(self._incoming).free, self._artifacts.free())
        free_mb, needed_mb = free >> 20, self._limit_mb + self._minimum_mb
        if free_mb < needed_mb:
            raise DiskFull(
                free_mb=free_mb, needed_mb=needed_mb, limit_mb=self._limit_mb, minimum_mb=self._minimum_mb
            )

    def _read(self, digest: str, name: str, limit: int) -> bytes | None:
        try:
            with zipfile.ZipFile(self.path(digest)) as archive, archive.open(name) as file:
                return file.read(limit + 1)
        except KeyError:
            return None
        except _BROKEN as error:
            raise BadSnapshot(digest=digest[:12], why_en=_NO_ZIP[0], why_ko=_NO_ZIP[1]) from error

    def _unpack(self, digest: str, folder: Path) -> None:
        limit = (self._limit_mb << 20) * _GROWTH
        try:
            with zipfile.ZipFile(self.path(digest)) as archive:
                members = archive.infolist()
                if len(members) > _FILES or sum(member.file_size for member in members) > limit:
                    raise SnapshotTooLarge(limit_mb=self._limit_mb)
                places = [(member, folder / _inside(member, digest)) for member in members]
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for member, place in places:
                    limit -= _write(archive, member, place, limit, self._limit_mb)
        except _BROKEN as error:
            raise BadSnapshot(digest=digest[:12], why_en=_NO_ZIP[0], why_ko=_NO_ZIP[1]) from error


def _name(digest: str) -> str:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise BadSnapshot(digest=digest[:80], why_en=_UNLIKE[0], why_ko=_UNLIKE[1])
    return f"snapshots/{digest}.zip"


def _inside(member: zipfile.ZipInfo, digest: str) -> PurePosixPath:
    """The member's path, if it stays inside: relative, without `..`, a plain file or folder."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)
    plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
    if not plain or path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        raise BadSnapshot(digest=digest[:12], why_en=_PATH[0], why_ko=_PATH[1])
    return path


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, limit: int, limit_mb: int) -> int:
    """Write one member and answer its size, counted as written: what a header says may be a lie."""
    if member.is_dir():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return 0
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as source, place.open("wb") as out:
        while piece := source.read(_PIECE):
            size += len(piece)
            if size > limit:
                raise SnapshotTooLarge(limit_mb=limit_mb)
            out.write(piece)
    executable = (member.external_attr >> 16) & 0o100
    place.chmod(0o700 if executable else 0o600)
    return size


async def _room() -> None:
    return None

"""Unpacks an archive into a new folder, and believes nothing that it says before that is checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from dure_hub.archives import ARTIFACTS, CONTENTS, DATA, DUMP, FORMAT, MANIFEST, SETTINGS
from dure_hub.archives.errors import ArchiveDamaged, ArchiveNewer
from dure_hub.supervisor.revisions import program_version

_PIECE = 2**20
_TEXT_LIMIT = 2**31
_BROKEN = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError, ValueError)
CUT = {"en": "it ends too early", "ko": "중간에서 끊겼습니다"}


class Archive:
    """An open archive, read once from its beginning to its end."""

    def __init__(self, file: Path, plain: gzip.GzipFile, tar: tarfile.TarFile) -> None:
        self.file, self._plain, self._tar = file, plain, tar
        self.manifest = self._manifest()

    def unpack(self, into: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Unpack all into the folder `into`, under the names in the archive; answers with its list of contents.

        Nothing is written outside of `into`: only files and folders are unpacked, each new and under a relative
        name, and links are made last, when nothing is written any more. Raises `ArchiveDamaged` where a file is
        missing, or not as it was written.
        """
        found: dict[str, tuple[int, str]] = {MANIFEST: self._first}
        modes: list[tuple[Path, int, int]] = []
        contents: dict[str, Any] | None = None
        for member in self._members():
            if contents is not None:
                raise self.damaged("something follows its list of contents", "목록 뒤에 내용이 더 있습니다")
            if member.name == CONTENTS:
                contents = json.loads(self._text(member))
                continue
            place = into / self._checked(member.name)
            if member.isdir():
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                modes.append((place, member.mode & 0o777, int(member.mtime)))
            elif member.isreg():
                found[member.name] = self._write(member, place, progress)
            else:
                raise self.damaged(
                    f"{member.name} is neither file nor folder", f"{member.name}은(는) 파일이 아닙니다"
                )
        while self._plain.read(_PIECE):  # to the end, where gzip's own checksum is
            pass
        self._compare(contents, found)
        assert contents is not None  # noqa: S101 - `_compare` has seen to it
        self._links(contents, into)
        for place, mode, at in reversed(modes):
            place.chmod(mode)
            os.utime(place, (at, at))
        return contents

    def damaged(self, en: str, ko: str) -> ArchiveDamaged:
        """The error that says so of this file."""
        return ArchiveDamaged(file=str(self.file), reason={"en": en, "ko": ko})

    def _manifest(self) -> dict[str, Any]:
        first = self._tar.next()
        if first is None or first.name != MANIFEST or not first.isreg() or first.size > _PIECE:
            raise self.damaged("it does not begin as one", "포털 백업의 형식이 아닙니다")
        text = self._text(first)
        self._first = (len(text), hashlib.sha256(text).hexdigest())
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise self.damaged("its manifest says nothing", "매니페스트가 올바르지 않습니다")
        if manifest["format"] > FORMAT:
            by, program = manifest.get("program"), program_version()
            raise ArchiveNewer(file=str(self.file), by=by, found=manifest["format"], program=program)
        return manifest

    def _members(self) -> Iterator[tarfile.TarInfo]:
        while (member := self._tar.next()) is not None:
            yield member

    def _checked(self, name: str) -> PurePosixPath:
        path = PurePosixPath(name)
        inside = name in (SETTINGS, DUMP) or name.startswith((DATA, ARTIFACTS))
        if not inside or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise self.damaged(f"it wants to write to {name}", f"{name} 경로에 쓰려고 합니다")
        return path

    def _write(self, member: tarfile.TarInfo, place: Path, progress: Callable[[int], None]) -> tuple[int, str]:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            for piece in _pieces(self._content(member)):
                out.write(piece)
                digest.update(piece)
                size += len(piece)
                progress(len(piece))
            os.fchmod(handle, member.mode & 0o777)
        os.utime(place, (int(member.mtime), int(member.mtime)))
        return size, digest.hexdigest()

    def _text(self, member: tarfile.TarInfo) -> bytes:
        if member.size > _TEXT_LIMIT:
            raise self.damaged(f"{member.name} is too large", f"{member.name}이(가) 너무 큽니다")
        return self._content(member).read()

    def _content(self, member: tarfile.TarInfo) -> IO[bytes]:
        content = self._tar.extractfile(member)
        if content is None:
            raise self.damaged(f"{member.name} is no file", f"{member.name}은(는) 파일이 아닙니다")
        return content

    def _compare(self, contents: dict[str, Any] | None, found: dict[str, tuple[int, str]]) -> None:
        if contents is None:
            raise ArchiveDamaged(file=str(self.file), reason=CUT)
        wanted = {name: tuple(about) for name, about in contents["files"].items()}
        for name in wanted.keys() | found.keys():
            if wanted.get(name) != found.get(name):
                raise self.damaged(f"{name} is not as it was written", f"{name}이(가) 기록된 내용과 다릅니다")

    def _links(self, contents: dict[str, Any], into: Path) -> None:
        """Made where they were found, wherever they lead: a person's link to a folder of the machine is theirs."""
        for name, target in contents["links"].items():
            place = into / self._checked(name)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not place.parent.resolve().is_relative_to(into.resolve()):
                raise self.damaged(f"{name} lies behind a link", f"{name}이(가) 링크 뒤에 있습니다")
            place.symlink_to(target)


@contextmanager
def reading(file: Path) -> Iterator[Archive]:
    """Open an archive and read its manifest. Whatever is wrong with its bytes is `ArchiveDamaged`."""
    with file.open("rb") as packed:
        try:
            with (
                gzip.GzipFile(fileobj=packed) as plain,
                tarfile.open(fileobj=plain, mode="r|", bufsize=_PIECE) as tar,
            ):
                yield Archive(file, plain, tar)
        except _BROKEN as why:
            ended = isinstance(why, EOFError) or "unexpected end" in str(why)
            raise ArchiveDamaged(file=str(file), reason=CUT if ended else str(why)) from why


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(_PIECE):
        yield piece

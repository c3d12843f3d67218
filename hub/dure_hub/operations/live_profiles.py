"""profiles.yaml of the data folder, read again when it changes; the last good one counts while it is broken."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import ClassVar

from dure.errors import DureError, Text
from dure.wire.organisation import ProfilesFile
from dure_hub.catalogue import profilefile
from dure_hub.catalogue.marked import BadFile
from dure_hub.settings import DataFolder

log = logging.getLogger(__name__)
_READABLE: Text = {
    "en": "it is a file of text that the portal may read",
    "ko": "포털이 읽을 수 있는 텍스트 파일이어야 합니다",
}


class ProfilesGone(DureError):
    """The file was there, and is not."""

    code, status = "profiles_gone", 409
    message: ClassVar[Text] = {
        "en": "profiles.yaml is gone; the last good one ({kept}) still counts.",
        "ko": "profiles.yaml이 없어졌습니다. 마지막으로 올바른 파일({kept})이 계속 적용됩니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Copy that back; to begin anew, remove both and start the portal again.",
        "ko": "그 파일을 되돌려 놓으세요. 새로 시작하려면 둘 다 지우고 포털을 다시 시작하세요.",
    }


class LiveProfiles:
    """Whoever asks gets the file as it is. A bad edit changes nothing: the log and `problem` name its line."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._file: ProfilesFile | None = None
        self._seen: tuple[int, int] | None = None
        self._one = threading.Lock()
        self.problem: DureError | None = None

    def current(self) -> ProfilesFile:
        """The file, or the last good one. Quick: one that did not change is not read. Any thread may ask."""
        with self._one:
            return self._current()

    def _current(self) -> ProfilesFile:
        try:
            about = self._folder.profiles.stat()
        except FileNotFoundError:
            return self._without()
        mark = (about.st_mtime_ns, about.st_size)
        if mark != self._seen:
            try:
                self._file, self.problem = self._good(), None
            except BadFile as error:
                self.problem = error
                log.error("%s; the profiles stay as they were", error)
            self._seen = mark
        return self._file or self._last()

    def _good(self) -> ProfilesFile:
        text = read(self._folder.profiles)
        found = profilefile.parse(text)
        try:
            keep(self._folder.good_profiles, text)
        except OSError as error:  # a full disk is no reason for the old profiles
            log.error("%s counts, but no copy of it could be kept: %s", self._folder.profiles, error)
        return found

    def _last(self) -> ProfilesFile:
        """What counted before this process began."""
        kept = self._folder.good_profiles
        self._file = profilefile.parse(read(kept)) if kept.exists() else ProfilesFile()
        return self._file

    def _without(self) -> ProfilesFile:
        self._seen = None
        found = self._file or self._last()
        if not self._folder.good_profiles.exists():  # there never was one: as the machine makes them
            self._file, self.problem = None, None
        elif not isinstance(self.problem, ProfilesGone):
            self.problem = ProfilesGone(kept=str(self._folder.good_profiles))
            log.error("%s", self.problem)
        return found


def read(path: Path) -> str:
    """The text of profiles.yaml; raises `BadFile`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(profilefile.FILE, 1, path.name, " ".join(str(error).split()), _READABLE) from error


def keep(target: Path, text: str) -> None:
    """Write it whole or not at all, of mode 600; what is there already is not touched. Raises `OSError`."""
    if target.exists() and target.read_bytes() == text.encode():
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def problem_of(folder: DataFolder) -> DureError | None:
    """What is wrong with the file now, for whoever looks from outside; nothing is written."""
    kept = folder.good_profiles
    if not folder.profiles.exists():
        return ProfilesGone(kept=str(kept)) if kept.exists() else None
    try:
        profilefile.parse(read(folder.profiles))
    except BadFile as error:
        return error
    return None


def usable(folder: DataFolder) -> None:
    """Raise `BadFile` where the file is broken and no good one is known: nobody could tell who may pick what."""
    if folder.profiles.exists() and not folder.good_profiles.exists():
        profilefile.parse(read(folder.profiles))

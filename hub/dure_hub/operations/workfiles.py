"""What a job or an execution has on disk: its code, its outputs, its token, its log once it ended.

People's code runs beside all of it and may leave anything anywhere: links, pipes, folders where files should be.
So what is read is opened with care, what is in the way is replaced, and the log is not kept beside the code.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from dure_hub.backends.base import LogPiece, begin
from dure_hub.isolation import pythons
from dure_hub.isolation.removal import remove_tree
from dure_hub.mlflowapi import PREFIX
from dure_hub.settings import Settings

_LAUNCHERS_OWN = "torch/distributed/elastic/"
"""In every line that torchrun logs: which process it ended and how, never what the code said."""


class WorkFolder:
    """The places of one job or execution. Making the object touches nothing; methods are quick and blocking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = self.path / "code"
        self.outputs = self.path / "outputs"
        self.home = self.path / "home"
        self.token = self.path / "token"
        self.kept = self.path / "kept"
        self.log = self.kept / "log"
        """There once it has ended."""

    def create(self) -> None:
        """Make the folders that it finds."""
        for folder in (self.path, self.outputs, self.home):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def spare(self) -> Path:
        """An empty place to unpack the code into, beside its own; what a crash left there is removed."""
        spare = self.path / "code.new"
        remove(spare)
        return spare

    def write_token(self, text: str) -> None:
        """Keep its own token, readable by its owner alone; whole or not at all."""
        write_private(self.token, text.encode())

    def drop_token(self) -> None:
        """Remove a token that died with its lease, so that the next start is given one of its own."""
        remove(self.token)

    def has_token(self) -> bool:
        """Whether it was written, and is still a file."""
        return _is_plain(self.path, self.token.name)

    def has_log(self) -> bool:
        """Whether its log was kept."""
        return _is_plain(self.kept, self.log.name)

    def make_room(self) -> Path:
        """The place to keep its log in, empty, whatever was there."""
        remove(self.kept)
        self.kept.mkdir(mode=0o700, parents=True)
        return self.log

    def tidy(self) -> None:
        """Remove what only a running one needs. Raises `OSError` for what cannot be removed."""
        for place in (self.token, self.code, self.path / "code.new", self.home):
            remove(place)

    def opened(self) -> IO[bytes] | None:
        """The kept log. Those of earlier versions lie beside the code."""
        return open_plain(self.kept, self.log.name) or open_plain(self.path, "log")

    def piece(self, offset: int, limit: int) -> tuple[LogPiece, bool] | None:
        """The kept log from byte `offset` on, below 0 from the end; whether that was all. None if none was kept.

        No character is cut in two.
        """
        file = self.opened()
        if file is None:
            return None
        with file:
            size = os.fstat(file.fileno()).st_size
            offset = begin(file, offset)
            file.seek(min(offset, size))
            content = file.read(limit)
        end = min(offset, size) + len(content)
        if end < size:
            content = whole_characters(content)
            end = min(offset, size) + len(content)
        return LogPiece(content.decode("utf-8", "replace"), offset, end), end >= size


def open_plain(folder: Path, *steps: str) -> IO[bytes] | None:
    """A plain file so many steps below a plain folder, to read; None for anything else.

    Each step is opened inside the last. No link is followed, no pipe waited for: whoever changes the folder
    meanwhile leads nobody out of it. In a folder of somebody else's (the portal is root then) only their own files
    count: another name of a file that they may not read would show it to them.
    """
    place = _step(folder, os.O_DIRECTORY, None)
    owner = os.geteuid() if place is None else os.fstat(place).st_uid
    for number, step in enumerate(steps, 1):
        if place is None:
            return None
        last = place
        place = _step(step, 0 if number == len(steps) else os.O_DIRECTORY, last)
        os.close(last)
    if place is None:
        return None
    found = os.fstat(place)
    if not stat.S_ISREG(found.st_mode) or (owner != os.geteuid() and found.st_uid != owner):
        os.close(place)
        return None
    return os.fdopen(place, "rb")


def _step(name: Path | str, kind: int, inside: int | None) -> int | None:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | kind, dir_fd=inside)
    except (OSError, ValueError):  # not there, a link, not for us, or no name at all
        return None


def read_plain(folder: Path, *steps: str, limit: int) -> bytes | None:
    """The content of a file as of `open_plain`, of at most `limit` bytes; None for anything else."""
    file = open_plain(folder, *steps)
    if file is None:
        return None
    try:
        with file:
            content = file.read(limit + 1)
    except OSError:
        return None
    return content if len(content) <= limit else None


def remove(place: Path) -> None:
    """Remove what is there, whatever it is; a link, not what it leads to. Nothing there is fine.

    Raises `OSError` for what cannot be removed; folders that their owner closed are opened first.
    """
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return
    remove_tree(place, onerror=_open_and_try_again)


def _open_and_try_again(undone: Callable[..., Any], path: str, error: Any) -> None:
    if isinstance(error[1], FileNotFoundError):
        return
    closed = Path(path) if undone in (os.scandir, os.open) else Path(path).parent
    # root is kept out by no mode, and what its owner puts in this place meanwhile must not be opened
    if os.geteuid() == 0 or closed.is_symlink() or stat.S_IMODE(closed.lstat().st_mode) & 0o700 == 0o700:
        raise error[1]
    closed.chmod(0o700)
    remove(Path(path))


def _is_plain(folder: Path, name: str) -> bool:
    file = open_plain(folder, name)
    if file is None:
        return False
    file.close()
    return True


def tail(text: str, lines: int = 3) -> str:
    """The last lines in which the code says something, on one line."""
    said = [line.strip() for line in text.splitlines() if line.strip() and _LAUNCHERS_OWN not in line]
    return " / ".join(said[-lines:])[-200:]


def whole_characters(content: bytes) -> bytes:
    """Without the begun character at the end, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content)
    begun = decoder.getstate()[0]
    return content[: len(content) - len(begun)] if len(begun) < len(content) else content


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 600 that appears whole, in place of whatever is there."""
    temporary = path.with_name(f"{path.name}.new")
    remove(temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(temporary, flags, 0o600), "wb") as out:  # noqa: PTH123
        out.write(content)
    if path.is_dir() and not path.is_symlink():
        remove(path)
    temporary.replace(path)


def common_environment(
    settings: Settings, owner: str, folder: WorkFolder, python: str | None = None
) -> dict[str, str]:
    """What every job and execution finds; of the portal's own only where programs and libraries are.

    `python` is its owner's own, whose programs come first.
    """
    passed = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
        if name in os.environ
    }
    if python is not None:
        own = str(Path(python).parents[1])
        passed |= pythons.environment(own, passed.get("PATH", os.defpath))
    return {
        "LANG": "C.UTF-8",
        **passed,
        "HOME": str(folder.home),
        "LOGNAME": owner,
        "USER": owner,
        "PYTHONUNBUFFERED": "1",
        "DURE_URL": settings.front_url,
        "DURE_LANGUAGE": settings.language,
        "MLFLOW_TRACKING_URI": f"{settings.front_url}{PREFIX}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }

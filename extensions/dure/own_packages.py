"""What is in one's own Python: shown, listed in a file, and emptied. It works where a server of the portal runs.

Nothing here imports what is installed there, so that it works where that is broken.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dure import own_python
from dure.own_python import Portal
from dure.sdk_errors import FileNotWritten, NoOwnPython, OwnPythonFailed

NOT_A_SERVER = {
    "en": "DURE_OWN_PYTHON is not set",
    "ko": "DURE_OWN_PYTHON이 설정되지 않았습니다",
}
LOST_MARK = {
    "en": "it lost its mark, and mends itself when your server starts anew",
    "ko": "표시 파일이 없어졌습니다. 서버를 다시 시작하면 복구됩니다",
}


@dataclass(frozen=True)
class Package:
    """One that is installed there. `hides` is the portal's version that is not used for it; null is none."""

    name: str
    version: str
    hides: str | None


@dataclass(frozen=True)
class Aside:
    """One that was moved aside. `list` is the file with what it had; null is nothing to list."""

    folder: str
    size_bytes: int
    list: str | None


@dataclass(frozen=True)
class Own:
    """One's own Python: its folder, its version as `3.11`, what it takes on disk, and what is in it."""

    folder: str
    python: str
    size_bytes: int
    packages: list[Package]
    aside: list[Aside]


def show() -> Own:
    """What is there now. Raises `NoOwnPython`."""
    own, portal = found()
    theirs = {key(name): version for name, version in _portals(portal)}
    mine = own_python.installed(own_python.packages(own, portal.version))
    packages = [Package(name, version, theirs.get(key(name))) for name, version, _ in mine]
    return Own(str(own), portal.version, size(own), packages, _asides(own))


def snapshot(file: Path) -> int:
    """Write a file that `pip install -r` brings all of it back from; how many packages. It appears whole.

    Raises `NoOwnPython`, `FileNotWritten`.
    """
    own, portal = found()
    lines = [line for _, _, line in own_python.installed(own_python.packages(own, portal.version))]
    if os.path.isdir(file):  # noqa: PTH112 - it says no where a path cannot be looked at, and writing says why
        raise FileNotWritten(path=str(file), why=os.strerror(errno.EISDIR))
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise FileNotWritten(path=str(file), why=error.strerror or str(error)) from error
    return len(lines)


def reset() -> Aside:
    """Move it aside, with a list of what it had, and make an empty one. Raises `NoOwnPython`, `OwnPythonFailed`.

    Killed in between, the next start of a server makes the new one. What runs keeps what it has loaded, and
    should be started anew.
    """
    own, portal = found()
    home = own.parents[1]
    try:
        with own_python.alone(home):
            aside = own_python.move_aside(own, portal.version)
        own_python.make(home, portal)
    except OSError as error:
        raise OwnPythonFailed(folder=str(own), why=error.strerror or str(error)) from error
    return _aside(aside)


def found() -> tuple[Path, Portal]:
    """The folder of one's own Python, and what it was made from. Raises `NoOwnPython`, `OwnPythonFailed`.

    One that lost the mark of ours, or all of it, counts: the portal's own Python knows what is needed.
    """
    place = os.environ.get("DURE_OWN_PYTHON")
    if not place:
        raise NoOwnPython(why=NOT_A_SERVER)
    own = Path(place)
    portal = own_python.made_for(own)
    if portal is None:
        home = own.parents[1]
        if Path(sys.prefix) == own:  # what asks would take itself for the portal's
            raise OwnPythonFailed(folder=str(own), why=LOST_MARK)
        try:
            own_python.make(home, own_python.here())
        except OSError as error:
            raise OwnPythonFailed(folder=str(own), why=error.strerror or str(error)) from error
        portal = own_python.here()
    return own, portal


def size(folder: Path) -> int:
    """Bytes on disk of all that is in there; what vanishes meanwhile counts for nothing."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
            except OSError:
                continue
    return total


def key(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _portals(portal: Portal) -> list[tuple[str, str]]:
    found = [one for folder in reversed(portal.packages) for one in own_python.installed(Path(folder))]
    return [(name, version) for name, version, _ in found]


def _asides(own: Path) -> list[Aside]:
    places = sorted(own.parent.glob(f"{own_python.NAME}-*"))
    return [_aside(one) for one in places if one.is_dir() and not one.is_symlink()]


def _aside(folder: Path) -> Aside:
    listed = folder / own_python.LIST
    return Aside(str(folder), size(folder), str(listed) if listed.is_file() else None)

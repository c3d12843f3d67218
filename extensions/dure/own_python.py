"""A person's own Python: `~/.dure/python`, into which `pip install` goes, over the packages that the portal has.

It is a virtual environment whose own packages come first and whose last place to look is the portal's own. Nothing
but the standard library is needed to make one: the hub runs `python -I -S own_python.py <home> <python> <packages>
...` as the person, since what they have put into their home may lead anywhere.

Nothing of theirs is ever deleted. What cannot go on being used is moved aside, with a list of what it had.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER, NAME = ".dure", "python"
MARK = "dure.json"
"""There, and it says for which Python, where one is whole."""
LIST = "requirements.txt"
"""What one had when it was moved aside, as `pip install -r` takes it."""
LARGEST_MARK = 1 << 14
UNKNOWN = "unknown"
"""In place of a version, where no mark says it."""
PATIENCE_S = 10.0
"""For whoever else is changing the same one, which takes less than a second."""
LAST = "zzz_dure_portal.pth"
"""Python reads these files by name, and those of the person's own packages are to come first."""
RAN_WITH = "own-packages.txt"
"""The same, among the outputs of a job or an execution that ran with one."""
PIPS = ("pip", "pip3")
PIP = """#!/bin/sh
# pip is the portal's, and works on this Python's packages. `pip install -U pip` gives it one of its own.
exec "$(dirname -- "$(readlink -f -- "$0")")/python" -m pip "$@"
"""


@dataclass(frozen=True)
class Portal:
    """What one is made from: the portal's Python version as `3.11`, its program, and where its packages are."""

    version: str
    python: str
    packages: tuple[str, ...]


def place(home: Path) -> Path:
    """Where a person's own Python is, or will be."""
    return home / FOLDER / NAME


def program(own: Path) -> Path:
    """The Python of this folder."""
    return own / "bin" / "python"


def packages(own: Path, version: str) -> Path:
    """Where its own packages are."""
    return own / "lib" / f"python{version}" / "site-packages"


def here() -> Portal:
    """Of the Python that runs this: the portal's, or a person's own, which knows the portal's."""
    own = made_for(Path(sys.prefix))
    if own is not None:
        return own
    import site

    found = tuple(one for one in site.getsitepackages() if os.path.isdir(one))  # noqa: PTH112
    return Portal(_version(), getattr(sys, "_base_executable", "") or sys.executable, found)


def made_for(own: Path) -> Portal | None:
    """What this one was made from; None where there is none that is whole.

    Also for whoever may not trust the folder: no link is followed at the end, and no pipe is waited for.
    """
    try:
        found = os.open(own / MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(found, "rb") as file:
        about = os.fstat(found)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_MARK:
            return None
        try:
            said = json.loads(file.read(LARGEST_MARK))
            found_for = Portal(str(said["version"]), str(said["python"]), tuple(map(str, said["packages"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    # It becomes part of names of folders.
    return found_for if re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", found_for.version) else None


def make(home: Path, portal: Portal) -> Path:
    """The person's own Python, made, mended, or as it was where nothing is to do; its folder. Raises `OSError`.

    One for another version of Python is moved aside first, since its packages are of no use to this one. One that
    lost its mark and has packages for this version goes on being used.
    """
    own = place(home)
    if made_for(own) == portal and is_whole(own, portal):
        return own  # also while somebody else holds it
    with alone(home):
        known = made_for(own)
        if known == portal and is_whole(own, portal):
            return own
        if known is not None and known.version != portal.version:
            move_aside(own, known.version)
        elif known is None and os.path.lexists(own) and not _goes_on(own, portal):
            move_aside(own, UNKNOWN)
        if os.path.lexists(own):
            _furnish(own, portal)
            return own
        unfinished = own.with_name(f".{NAME}.new")
        if unfinished.is_symlink():
            unfinished.unlink()
        shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
        unfinished.mkdir(mode=0o700)
        _furnish(unfinished, portal)
        unfinished.rename(own)
        return own


def move_aside(own: Path, version: str) -> Path:
    """Keep it under another name, with the list of its packages; where it is now. Call it `alone`.

    Where nothing is known to be for this version, the packages of every version there are listed.
    """
    own_packages = packages(own, version)
    folders = [own_packages] if own_packages.is_dir() else sorted(own.glob("lib/python*/site-packages"), key=_age)
    if lines := [line for _, _, line in installed(*folders)]:
        _write(own / LIST, "".join(f"{line}\n" for line in lines))
    number, aside = 1, own.with_name(f"{NAME}-{version}")
    while os.path.lexists(aside):
        number += 1
        aside = own.with_name(f"{NAME}-{version}-{number}")
    own.rename(aside)
    return aside


def installed(*folders: Path) -> list[tuple[str, str, str]]:
    """Name, version and line of a requirements file of each package in these folders, by name; the last has it."""
    from importlib.metadata import distributions

    found = {}
    for one in distributions(path=[str(one) for one in folders]):
        try:
            name, version, source = one.metadata["Name"], one.version, one.read_text("direct_url.json")
            if name and version:
                found[name.lower().replace("_", "-")] = (name, version, _line(name, version, source))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # what is broken in there cannot be named
    return [found[key] for key in sorted(found)]


def note_packages(own: Path, outputs: Path) -> int:
    """Leave the list of its packages there, for who wants to run the same again; how many they are."""
    portal = made_for(own)
    lines = [line for _, _, line in installed(packages(own, portal.version))] if portal is not None else []
    if lines:
        (outputs / RAN_WITH).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _line(name: str, version: str, source: str | None) -> str:
    """As pip notes where a package came from, if not from an index (packaging.python.org, direct_url.json)."""
    if not source:
        return f"{name}=={version}"
    said = json.loads(source)
    url = str(said["url"])
    if said.get("dir_info", {}).get("editable"):
        return f"-e {url}"  # as it is, quoted: pip takes it, and a path may have spaces
    inside = f"#subdirectory={said['subdirectory']}" if said.get("subdirectory") else ""
    if repository := said.get("vcs_info"):
        return f"{name} @ {repository['vcs']}+{url}@{repository['commit_id']}{inside}"
    return f"{name} @ {url}{inside}"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """One at a time in this home: two servers may start at once. Ends with the process that holds it.

    Raises `OSError`; `TimeoutError` where somebody holds it for longer than `PATIENCE_S`.
    """
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(folder / f"{NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as lock:  # noqa: PTH123
        until = time.monotonic() + PATIENCE_S
        while not _locked(lock.fileno()):
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another process is changing it, and does not end")
            time.sleep(0.02)
        yield


def _locked(lock: int) -> bool:
    """Whether it is ours now. The system's own waiting has no end in a thread."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _goes_on(own: Path, portal: Portal) -> bool:
    """Whether one without a mark is for this version; a link may lead to a Python that is not the person's own."""
    return not own.is_symlink() and packages(own, portal.version).is_dir()


def _age(folder: Path) -> list[int]:
    """By the version in the name, 3.9 before 3.10."""
    return [int(one) for one in re.findall("[0-9]+", folder.parent.name)]


def _furnish(own: Path, portal: Portal) -> None:
    """Put in all that is ours, over what an earlier portal put there. The mark comes last."""
    ours = packages(own, portal.version)
    for folder in (own / "bin", own / "include", ours):
        folder.mkdir(parents=True, exist_ok=True)
    if portal.python and sys.maxsize > 1 << 32 and not os.path.lexists(own / "lib64"):
        (own / "lib64").symlink_to("lib")
    _link(program(own), portal.python)
    for name in ("python3", f"python{portal.version}"):
        _link(own / "bin" / name, "python")
    _write(own / "pyvenv.cfg", _configuration(portal))
    _write(ours / LAST, _last(portal))
    for name in _pips(portal):
        if not os.path.lexists(own / "bin" / name):  # one of the person's own stays
            _write(own / "bin" / name, PIP, mode=0o755)
    _write(own / MARK, json.dumps(asdict(portal)))


def is_whole(own: Path, portal: Portal) -> bool:
    """Whether what makes it start is there as we put it, which its owner may have changed.

    Also for whoever may not trust the folder: nothing is opened.
    """
    return (
        os.access(program(own), os.X_OK)
        and (own / "pyvenv.cfg").is_file()
        and (packages(own, portal.version) / LAST).is_file()
        and all(os.path.lexists(own / "bin" / name) for name in _pips(portal))
    )


def _pips(portal: Portal) -> tuple[str, ...]:
    return (*PIPS, f"pip{portal.version}")


def _configuration(portal: Portal) -> str:
    home = os.path.dirname(portal.python)  # noqa: PTH120 - of a text
    return f"home = {home}\ninclude-system-site-packages = false\nversion = {portal.version}\nprompt = own\n"


def _last(portal: Portal) -> str:
    """Lines that Python runs: so that the portal's own files of this kind are read, too."""
    return "".join(f"import site; site.addsitedir({one!a})\n" for one in portal.packages)


def _link(link: Path, target: str) -> None:
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Whole, or not at all, even if the power fails."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main(words: Sequence[str]) -> None:
    """Make the one of this home."""
    home, python, *folders = words
    make(Path(home), Portal(_version(), python, tuple(folders)))


if __name__ == "__main__":
    main(sys.argv[1:])

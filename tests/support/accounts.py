"""Ground for people's own accounts, made for tests as root: a Python that all users reach. It is removed again."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dure_hub.backends.embedded import cgroups
from dure_hub.isolation.ground import closed_folder
from tests.e2e.portal import Portal

ROOT = Path(__file__).parents[2]


@dataclass
class Ground:
    """A folder that others can enter, a Python in it, and a prefix for accounts that nobody else uses."""

    folder: Path
    python: Path
    prefix: str

    @property
    def environment(self) -> dict[str, str]:
        """Where that Python finds its library, which it looks for at its old place otherwise."""
        return {"LD_LIBRARY_PATH": str(self.folder / "base" / "lib")}


def why_not() -> str:
    """Why these tests cannot run here; empty where they can."""
    if os.geteuid() != 0:
        return "Accounts of the system need root."
    if shutil.which("useradd", path="/usr/sbin:/usr/bin") is None:
        return "There is no useradd."
    for place in (ROOT, Path(sysconfig.get_path("purelib"))):
        if closed := closed_folder(place):
            return f"Other users cannot enter {closed}, where this checkout or its packages are."
    return ""


@contextmanager
def ground() -> Iterator[Ground]:
    """Skips with a sentence where there is none. Accounts, groups and control groups are gone afterwards."""
    if why := why_not():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="dure-apart-", dir="/tmp"))
    folder.chmod(0o711)
    prefix = f"t{os.urandom(3).hex()}-"
    try:
        yield Ground(folder, reachable_python(folder), prefix)
    finally:
        remove_accounts(prefix)
        shutil.rmtree(folder)


def reachable_python(folder: Path) -> Path:
    """This Python with these packages, at a place that other users reach: its files are linked, not copied."""
    base, venv = folder / "base", folder / "venv"
    shutil.copytree(
        sys.base_prefix,
        base,
        symlinks=True,
        copy_function=link_or_copy,
        ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"),
    )
    (venv / "bin").mkdir(parents=True)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (venv / "bin" / "python").symlink_to(base / "bin" / name)
    (venv / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\ninclude-system-site-packages = false\n")
    (venv / "lib" / name).mkdir(parents=True)
    (venv / "lib" / name / "site-packages").symlink_to(sysconfig.get_path("purelib"))
    (venv / "share").symlink_to(Path(sys.prefix) / "share")
    if (Path(sys.prefix) / "etc").is_dir():  # what turns on the parts of a server that come with packages
        shutil.copytree(Path(sys.prefix) / "etc", venv / "etc")
    command = venv / "bin" / "dure"
    command.write_text(f"#!{venv / 'bin' / 'python'}\nimport sys\nfrom dure.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    return venv / "bin" / "python"


def link_or_copy(source: str, target: str) -> None:
    """A link where both are on one disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def remove_accounts(prefix: str) -> None:
    """Every account and group of this prefix; none may run anything any more."""
    for user in [one for one in pwd.getpwall() if one.pw_name.startswith(prefix)]:
        subprocess.run(["/usr/sbin/userdel", "--force", user.pw_name], check=True, capture_output=True)
    for group in [one for one in grp.getgrall() if one.gr_name.startswith(prefix)]:
        subprocess.run(["/usr/sbin/groupdel", group.gr_name], check=True, capture_output=True)


def groups_left(instance: str) -> set[str]:
    """Leases of a portal that have control groups still."""
    return cgroups.find(instance).leases(instance)


@dataclass
class ApartPortal(Portal):
    """A portal that runs with the Python of the ground, with accounts."""

    python: Path = Path(sys.executable)

    def dure(self, *words: str, timeout: float = 180, check: bool = True, feed: str | None = None) -> str:
        """As the portal's, by that Python."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", str(self.python))
            return super().dure(*words, timeout=timeout, check=check, feed=feed)

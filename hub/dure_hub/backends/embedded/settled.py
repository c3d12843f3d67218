"""What a process has settled by its start and its imports, and what a fork of it must settle anew.

A fork is as good as a new process where the environment that it is given agrees with what was read so far, and
where all that Python itself keeps for one process, or for one home, is made again. Two things cannot be: the
secret in the hashes of texts, and where in memory things lie, are common to all forks of one process.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing.process
import os
import random
import site
import stat
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_", "OMP_", "OPENBLAS_", "MKL_")
"""Variables that begin so are read by Python, by the loader or by a library, where nobody sees it."""


Packages = Mapping[str, int | None]
"""The folders that modules come from, and when something was last added to or removed from each. None is no
folder, or none that can be read."""


class Unfit(Exception):
    """This process must not be forked; the text says why."""


class _Recording(type(os.environ)):  # type: ignore[misc] # the class of the environment has no public name
    """An environment that notes what it is asked for."""

    asked: set[str] = set()

    def __getitem__(self, name: Any) -> Any:
        self.asked.add(os.fsdecode(name))
        return super().__getitem__(name)


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The names of variables that Python code asks for meanwhile. `Unfit` where it changes the environment."""
    before, asked = dict(os.environ), set[str]()
    kind: Any = type(os.environ)
    _Recording.asked = asked
    for environment in (os.environ, os.environb):
        environment.__class__ = _Recording
    try:
        yield asked
    finally:
        for environment in (os.environ, os.environb):
            environment.__class__ = kind
    if dict(os.environ) != before:
        raise Unfit("an import changes the environment")


@dataclass(frozen=True)
class Settled:
    """The values that were read, what Python itself added, how the packages were before they were imported, and
    the generators of random numbers that modules keep beside Python's own."""

    values: Mapping[str, str | None]
    added: Mapping[str, str]
    """As every Python with this environment does: without a locale, it takes one and says so in `LC_CTYPE`."""
    packages: Packages
    generators: tuple[random.Random, ...]

    @classmethod
    def now(cls, asked: Iterable[str], before: Packages) -> Settled:
        """Of this process, which nobody's data has reached. `Unfit` where forks would share more than code."""
        tasks = len(list(Path("/proc/self/task").iterdir()))
        if tasks > 1 or threading.active_count() > 1:
            raise Unfit(f"an import has started {tasks - 1} threads")
        # that by which the folder itself is read is gone again when it is looked at
        opened = [one.name for one in Path("/proc/self/fd").iterdir() if int(one.name) > 2 and one.exists()]
        if opened:
            raise Unfit(f"an import has left descriptors open: {', '.join(opened)}")
        if b" rw-s " in Path("/proc/self/maps").read_bytes():
            raise Unfit("an import has made memory that a fork would share")
        if asyncio.get_event_loop_policy()._local._loop is not None:  # type: ignore[attr-defined]
            raise Unfit("an import has made an event loop")
        if "numpy.random" in sys.modules:
            raise Unfit("an import has seeded numpy")
        if site.ENABLE_USER_SITE:
            raise Unfit("this Python takes packages from each home")
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        added = {name: value for name, value in os.environ.items() if os.fsencode(f"{name}={value}") not in given}
        looked = {folder: before.get(folder, at) for folder, at in packages().items()}  # an import may add some
        values = {name: os.environ.get(name) for name in {*asked} - {*added}}
        return cls(values, added, looked, _generators())

    def differing(self, environment: Mapping[str, str]) -> list[str]:
        """Names of variables that have another value there than the one that counts already."""
        names = {*self.values, *(name for name in (*os.environ, *environment) if name.startswith(AT_START))}
        known = {name: value for name, value in os.environ.items() if name not in self.added}
        return sorted(name for name in names if environment.get(name) != known.get(name))

    def packages_changed(self) -> bool:
        """Whether something was installed or removed since."""
        return packages() != self.packages


def new_process(settled: Settled) -> None:
    """Make again what Python keeps for one process, one home or one working directory.

    Python itself does so at a fork for `random`, `threading` and `ssl`; `uuid` and `secrets` keep nothing.
    """
    for generator in settled.generators:  # one with a seed of its own, too, for nothing tells it from the others
        generator.seed()
    tempfile.tempdir = None
    multiprocessing.process.current_process().authkey = os.urandom(32)
    vars(multiprocessing.process)["ORIGINAL_DIR"] = str(Path.cwd())
    time.tzset()
    site.USER_BASE = site.USER_SITE = None
    site.getusersitepackages()
    sysconfig.get_config_vars()["userbase"] = site.getuserbase()


def _generators() -> tuple[random.Random, ...]:
    """To be looked for before `gc.freeze`, which hides what there is."""
    found = [one for one in gc.get_objects() if isinstance(one, random.Random)]
    return tuple(one for one in found if not isinstance(one, random.SystemRandom))


def packages() -> Packages:
    """How they are now."""
    return {folder: _changed_at(Path(folder)) for folder in sys.path}


def differ(before: Packages) -> bool:
    """Whether one of these has changed; not whether an import has added a folder to them."""
    return any(_changed_at(Path(folder)) != at for folder, at in before.items())


def _changed_at(folder: Path) -> int | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_mtime_ns if stat.S_ISDIR(found.st_mode) else None

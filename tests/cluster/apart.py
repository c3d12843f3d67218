"""Namespaces of the cluster's own: of processes, mounts and network, with no way out and nothing left behind.

All of it is the kernel's to take down: when the first process of the namespace ends, however it ends, every other
one is killed, and with the last of them go the mounts, the bridge and the network.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FOLDER = "DURE_CLUSTER_FOLDER"
"""Names the cluster's folder to whoever runs in the namespaces; also how one knows to be in them."""
PREFIX = "dure-cluster-"
DYING_S = 30.0
CGROUPS = Path("/sys/fs/cgroup")
BRIDGE, ADDRESS, NETWORK = "dure0", "10.66.0.1", "10.66.0.0/16"
"""Pods' network; the machine's own end of it is where pods reach what runs beside the cluster."""


def why_not() -> str:
    """Why there can be no such namespaces here; empty where there can."""
    if sys.platform != "linux":
        return "The test cluster needs Linux."
    if os.geteuid() != 0:
        return "The test cluster needs root, for namespaces and containers."
    missing = [name for name in ("unshare", "setpriv", "ip") if shutil.which(name) is None]
    return f"The test cluster needs {', '.join(missing)}." if missing else ""


def run(words: Sequence[str]) -> int:
    """Run a program in namespaces of its own, with a folder that is gone afterwards; its exit code."""
    sweep()
    with _folder() as folder:
        apart = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
        ends_with_us = ("setpriv", "--pdeathsig", "KILL")  # however this one ends
        command = [*ends_with_us, "unshare", *apart, sys.executable, "-m", "tests.cluster.first", *words]
        process = subprocess.Popen(command, env={**os.environ, FOLDER: str(folder)})
        try:
            return process.wait()
        finally:
            process.kill()
            process.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            clear(folder)


def sweep() -> None:
    """Remove what runs before this one left on disk, which were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clear(folder)
        except (BlockingIOError, FileNotFoundError):
            continue


def clear(folder: Path) -> None:
    """Remove a cluster's folder and the control groups of its pods. What is dying still is waited for."""
    deadline = time.monotonic() + DYING_S
    while not _groups_are_gone(folder.name):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Processes of {folder} do not end.")
        time.sleep(0.05)
    shutil.rmtree(folder)


def make_groups(name: str) -> None:
    """A control group of this name in every hierarchy: one with version 2, one a controller with version 1."""
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir(exist_ok=True)


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [one for one in CGROUPS.iterdir() if one.is_dir() and not one.is_symlink()]


def _groups_are_gone(name: str) -> bool:
    try:
        for hierarchy in _hierarchies():
            for group, _, _ in os.walk(hierarchy / name, topdown=False):
                Path(group).rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def inside() -> Path | None:
    """The cluster's folder, where this runs in its namespaces."""
    said = os.environ.get(FOLDER)
    return Path(said) if said else None


def make_network() -> None:
    """Loopback and the pods' bridge; there is no route to anywhere else."""
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "add", BRIDGE, "type", "bridge"),
        ("addr", "add", f"{ADDRESS}/16", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        subprocess.run(["ip", *words], check=True)


def first(words: Sequence[str]) -> int:
    """Be the first process of the namespace: run a program, and bury whatever others leave to this one."""
    make_network()
    child = subprocess.Popen(list(words))  # which is buried with the others, by its number
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child.pid, number))
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)

"""Processes of this machine as /proc shows them: who carries our mark, who is still the one we started.

The mark is in the environment (`DURE_PORTAL`, `DURE_LEASE`, `DURE_KIND`). A forked server shows its parent's
environment there, or none, so a command line that begins with `dure:<portal>:<kind>:<lease>` counts too, and
that of its keeper has one word more. Children of a
marked process that carry no mark of their own (they cleared their environment) count as theirs, and so does who
is in the session that a marked process leads.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

KEEPER = str(Path(__file__).with_name("keeper.py"))
_DEAD = ("Z", "X", "x")
_LEASE, _KIND = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"), re.compile(rb"server|job|model|execution")


@dataclass(frozen=True)
class Process:
    """A live process of ours. Pid and start time together name it for as long as the machine is up."""

    pid: int
    start_time: int
    parent: int
    session: int
    lease: str = ""
    kind: str = ""
    keeper: bool = False
    uid: int | None = None
    """Whose the process is that carries the mark; null where nobody asked."""


@cache
def boot_id() -> str:
    """Changes with every boot of the machine: pids and start times from another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def uptime_s() -> float:
    """How long ago the machine was booted."""
    return float(Path("/proc/uptime").read_text().split()[0])


def find(pid: int) -> Process | None:
    """The process with this pid. A zombie is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return None if fields[0] in _DEAD else Process(pid, int(fields[19]), int(fields[1]), int(fields[3]))


@dataclass(frozen=True)
class Spent:
    """What a process has used: processor time in seconds since its start, and resident memory in bytes now."""

    start_time: int
    cpu_s: float
    memory: int


def spent(pid: int) -> Spent | None:
    """What this process has used so far; None if it is gone. A zombie holds no memory, but has used its time."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Spent(int(fields[19]), ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def find_recorded(record: Mapping[str, Any] | None) -> Process | None:
    """The process that a record (`pid`, `start_time`, `boot_id`) means, if it is still that one."""
    if not record or not record.get("pid") or record.get("boot_id") != boot_id():
        return None
    process = find(int(record["pid"]))
    return process if process and process.start_time == record.get("start_time") else None


def identity(process: Process) -> dict[str, Any]:
    """The record by which `find_recorded` finds it again."""
    return {"pid": process.pid, "start_time": process.start_time, "boot_id": boot_id()}


def title(instance: str, lease: str, kind: str, keeper: bool = False) -> str:
    """The command line that marks a forked process as ours."""
    return f"dure:{instance}:{kind}:{lease}{' keeper' * keeper}"


def marks(instance: str, lease: str, kind: str) -> dict[str, str]:
    """The environment variables that mark a process as ours."""
    return {"DURE_PORTAL": instance, "DURE_LEASE": lease, "DURE_KIND": kind}


def marked(instance: str) -> list[Process]:
    """Everything alive that carries the mark of this portal, but for the caller itself."""
    world: dict[int, Process] = {}
    for entry in Path("/proc").iterdir():
        process = find(int(entry.name)) if entry.name.isdigit() and int(entry.name) != os.getpid() else None
        if process:
            world[process.pid] = _with_mark(process, instance)
    return [process for process in _inherit(world) if process.lease]


def send(process: Process, number: signal.Signals) -> None:
    """Signal this very process, never a later one with its pid. Gone already is fine."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            return
        now = find(process.pid)
        if now and now.start_time == process.start_time:
            os.kill(process.pid, number)
        return
    try:
        now = find(process.pid)  # the descriptor holds whoever has the pid now: look who that is
        if now and now.start_time == process.start_time:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _with_mark(process: Process, instance: str) -> Process:
    try:
        environ = Path(f"/proc/{process.pid}/environ").read_bytes()
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:  # another user's, or gone
        return process
    keeper = KEEPER.encode() in command.split(b"\0")
    if command.startswith(f"dure:{instance}:".encode()):
        mark, *more = re.split(rb"[\0 ]", command, maxsplit=2)
        kind, _, lease = mark.split(b":", 2)[2].partition(b":")
        keeper = more[:1] == [b"keeper"]
    elif f"DURE_PORTAL={instance}".encode() in environ:
        variables = dict(part.partition(b"=")[::2] for part in environ.split(b"\0"))
        if variables.get(b"DURE_PORTAL") != instance.encode():
            return process
        lease, kind = variables.get(b"DURE_LEASE", b""), variables.get(b"DURE_KIND", b"")
    else:
        return process
    if not _LEASE.fullmatch(lease) or not _KIND.fullmatch(kind):  # people's code can write anything there
        return process
    return replace(process, lease=lease.decode(), kind=kind.decode(), keeper=keeper, uid=_uid(process.pid))


def _uid(pid: int) -> int | None:
    """The real user id. Not that of the folder in /proc, which a process can have changed to root's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), None)


def _inherit(world: Mapping[int, Process]) -> Iterable[Process]:
    for process in world.values():
        source, steps = process, 0
        while not source.lease and source.parent in world and steps < len(world):
            source, steps = world[source.parent], steps + 1
        if not source.lease:
            source = world.get(process.session, process)
        yield replace(process, lease=source.lease, kind=source.kind, uid=source.uid)

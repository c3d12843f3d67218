"""Processes as the kernel knows them: a pid means something only with its start time and this boot's id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

POLL_S = 0.05
KILL_S = 5.0
"""How long the kernel may take over a SIGKILL."""


@dataclass(frozen=True)
class Process:
    """One process that cannot be mistaken for a later one with the same pid. `start_time` is in clock ticks."""

    pid: int
    start_time: int
    boot_id: str

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return self.boot_id == boot_id() and look(self.pid) == (self.start_time, False)

    def signal(self, number: int) -> None:
        """Signal it if it is still itself. What is gone already is not an error."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Signal the whole group it leads; only the process where it leads none."""
        if not self.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)


@dataclass(frozen=True)
class Record:
    """What is written right after a service starts, so that any later supervisor or `down` finds it."""

    process: Process
    fingerprint: str = ""
    """Digest of all that a running service cannot change: one with another digest is replaced, not adopted."""
    since: float = 0

    def save(self, path: Path) -> None:
        """Write it atomically."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(
            json.dumps({**asdict(self.process), "fingerprint": self.fingerprint, "since": self.since})
        )
        temporary.replace(path)


def load_record(path: Path) -> Record | None:
    """The record at `path`, or None where there is none that can be read."""
    try:
        found = json.loads(path.read_text())
        process = Process(int(found["pid"]), int(found["start_time"]), str(found["boot_id"]))
        return Record(process, str(found["fingerprint"]), float(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def boot_id() -> str:
    """The kernel's id of this boot; empty where it gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def look(pid: int) -> tuple[int, bool] | None:
    """Start time in clock ticks and whether it is a zombie; None where there is no such process."""
    fields = _fields(pid)
    return None if fields is None else (int(fields[19]), fields[0] in (b"Z", b"X"))


def identify(pid: int) -> Process | None:
    """The live process with this pid."""
    seen = look(pid)
    return None if seen is None or seen[1] else Process(pid, seen[0], boot_id())


def environ(pid: int) -> dict[str, str]:
    """The environment it was started with; empty where it is gone or not ours to read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (part.partition(b"=") for part in raw.split(b"\0") if b"=" in part)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def marked(instance: str, also: Callable[[dict[str, str]], bool] = lambda _: True) -> list[Process]:
    """Every live process that carries this portal's mark, but for the one that asks and its parents."""
    if not instance:
        return []
    ours = ancestors()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in ours:
            continue
        variables = environ(int(entry.name))
        if variables.get("DURE_PORTAL") == instance and also(variables):
            process = identify(int(entry.name))
            if process is not None:
                found.append(process)
    return found


def ancestors() -> set[int]:
    """This process and everything above it: `dure down` typed in a notebook's terminal must live to finish."""
    found, pid = set(), os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        fields = _fields(pid)
        if fields is None:
            break
        pid = int(fields[1])
    return found


def _fields(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third (state) on; None where there is no such process."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return raw.rpartition(b")")[2].split()  # the name before may hold anything: brackets, half a character


async def end(processes: Iterable[Process], grace_s: float, *, group: bool = True) -> list[Process]:
    """SIGTERM, then SIGKILL after `grace_s`. Returns those that live on (not ours to end, or stuck)."""
    left = [process for process in processes if process.alive()]
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
        for process in left:
            with contextlib.suppress(PermissionError):
                process.signal_group(number) if group else process.signal(number)
        left = await until_gone(left, wait_s)
        if not left:
            break
    return left


async def until_gone(processes: Sequence[Process], wait_s: float, poll_s: float = POLL_S) -> list[Process]:
    """Wait until they are gone, `wait_s` at most; returns those still there."""
    deadline = asyncio.get_running_loop().time() + wait_s
    left = [process for process in processes if process.alive()]
    while left and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(poll_s)
        left = [process for process in left if process.alive()]
    return left

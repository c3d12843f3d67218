"""The one runner: servers, jobs and model servers are the same to it.

Every run has a keeper (keeper.py) and a run folder (records.py), and carries its lease's mark (processes.py).
Whatever is killed when, one of the three still tells what is there. All functions here block for milliseconds,
or for as long as a stop takes: call them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dure_hub.backends.base import Handle, Kind, Phase, Reason, Seen
from dure_hub.backends.embedded import processes
from dure_hub.backends.embedded.carriers import Carriers
from dure_hub.backends.embedded.isolating import Isolation
from dure_hub.backends.embedded.ports import free_port
from dure_hub.backends.embedded.processes import Process
from dure_hub.backends.embedded.records import RunFolder, run_folders
from dure_hub.backends.embedded.warm import Order, WarmStarts
from dure_hub.settings import Settings

PATIENCE_S = 10.0
"""How long a sweep tries before it says what would not go."""
_UNSEEN = (Reason.KEEPER_LOST, Reason.MACHINE_RESTARTED)
"""Nobody saw such an end."""
_spawned: set[int] = set()
"""Keepers that are children of this process, to be buried when they end. Nothing else is remembered."""


@dataclass(frozen=True)
class Plan:
    """What to run: `{port}` in command and environment becomes a free port, if `port` is asked for.

    Where people have accounts, `own` are the places that the owner's user gets, `shown` those it may read, and
    `shared` the shared folders, by name, whose groups it may be in.
    """

    lease: str
    owner: str
    command: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    port: bool = False
    secret: str = ""
    base_path: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    own: Sequence[Path] = ()
    shown: Sequence[Path] = ()
    cores: float | None = None
    memory_mb: int | None = None
    shared: Sequence[str] = ()


class CalledOff(Exception):
    """Nobody wants this start any more; nothing was recorded or started."""


class Turn:
    """A start's turn, which may be called off until it has come. The two sides are in threads of their own."""

    def __init__(self) -> None:
        self._deciding, self._over = threading.Lock(), False

    def take(self) -> bool:
        """Begin, or call off: true for the first of the two that does so."""
        with self._deciding:
            first, self._over = not self._over, True
            return first


class Runner:
    """Starts and looks at the runs of one kind in one data folder; remembers nothing of them."""

    def __init__(self, settings: Settings, kind: Kind, grace_s: float, warm: WarmStarts | None = None) -> None:
        self.settings = settings
        self.warm = warm
        self.kind = kind
        self.grace_s = grace_s
        self.run = settings.folder.run
        self.isolation = Isolation(settings)

    def folder(self, lease: str, kind: Kind | None = None) -> RunFolder:
        """Where this lease's records lie."""
        return RunFolder(self.run / (kind or self.kind), lease)

    def shown(self, lease: str) -> Path:
        """Where the files of a run are that its owner's processes may read."""
        return self.isolation.given(lease) if self.isolation.on else self.folder(lease).path

    def marked(self, lease: str | None = None) -> list[Process]:
        """Live processes of this kind, or those of one lease. A mark on somebody else's process is none."""
        found = processes.marked(self.settings.instance)
        mine = [p for p in found if (p.kind == self.kind if lease is None else p.lease == lease)]
        carriers = Carriers(self.settings)
        return [p for p in mine if carriers.is_of(p, self.kind)] if self.isolation.on else mine

    def _members(self, lease: str) -> list[Process]:
        """What lives in the lease's groups, unless the lease is one of another kind, which is not ours to end."""
        kinds = Carriers(self.settings).specs(lease) if self.isolation.on else {}
        return self.isolation.members(lease) if self.kind in kinds or not kinds else []

    def start(self, plan: Plan, turn: Turn | None = None) -> Handle:
        """Record, then start; a lease that was started before gives what there is of it.

        Raises `CalledOff` where the `turn` was taken by whoever wanted this, while it stood in line.
        """
        if not self.settings.instance:
            raise ValueError("settings.instance is empty: what runs could not be found again")
        bury()
        with self._starting():
            if turn is not None and not turn.take():
                raise CalledOff
            folder = self.folder(plan.lease)
            if folder.exists():
                seen = self._judge(folder, self.marked(plan.lease))
                # Only what was recorded by an interrupted start, and nothing more, is started again.
                if seen.reason != Reason.NEVER_STARTED or folder.read("stop"):
                    return seen.handle
            return self._start(folder, plan)

    def _start(self, folder: RunFolder, plan: Plan) -> Handle:
        plan, confined = self.isolation.prepare(plan, self.kind)
        port = free_port(self._ports(but=folder)) if plan.port else None
        spec = {
            "lease": plan.lease,
            "kind": self.kind,
            "owner": plan.owner,
            "command": [part.replace("{port}", str(port)) if port else part for part in plan.command],
            "cwd": str(plan.cwd),
            "port": port,
            "secret": plan.secret,
            "base_path": plan.base_path,
            "grace_s": self.grace_s,
            "boot_id": processes.boot_id(),
            "confined": confined,
        }
        if folder.exists():
            folder.write("spec", spec)
        else:
            folder.create(spec, plan.files)
        environment = {
            name: value.replace("{port}", str(port)) if port else value for name, value in plan.environment.items()
        }
        order = Order(
            plan.lease, self.kind, environment | processes.marks(self.settings.instance, plan.lease, self.kind)
        )
        keeper = self.warm.start(order, plan.command) if self.warm else None
        keeper = keeper or spawn_keeper(folder, order.environment)
        with contextlib.suppress(OSError):  # it runs: a full disk does not make that untrue
            folder.write("keeper", processes.identity(keeper))  # its mark does not show at once
        return self._handle(folder, keeper)

    def look(self, handle: Handle) -> Seen:
        """One run, as it is now. Asks as little of the machine as the answer needs."""
        bury()
        folder = self.folder(handle.lease)
        keeper = processes.find_recorded(handle.where)
        if not folder.exists():
            if keeper is None and not self.marked(handle.lease):
                return Seen(handle, Phase.GONE, exact=False)
            return Seen(handle, Phase.RUNNING)
        if keeper and not folder.read("exit"):
            return Seen(handle, Phase.RUNNING, started=_started(folder))
        seen = self._judge(folder, [])
        return seen if _certain(seen) else self._look_again(folder)

    def look_all(self) -> list[Seen]:
        """Every run of this kind: recorded, or marked, or both."""
        bury()
        found: dict[str, list[Process]] = {}
        for process in self.marked():  # before the records: who ends in between has left one
            found.setdefault(process.lease, []).append(process)
        world = []
        for folder in run_folders(self.run / self.kind):
            seen = self._judge(folder, found.pop(folder.lease, []))
            world.append(seen if _certain(seen) else self._look_again(folder))
        for lease, left in found.items():
            handle = self._handle(self.folder(lease), _first(left))
            world.append(Seen(handle, Phase.RUNNING))
        return world

    def _look_again(self, folder: RunFolder) -> Seen:
        """While nothing is being started, so that what is not there is not just about to come."""
        with self._starting():
            seen = self._judge(folder, self.marked(folder.lease))
            if seen.reason != Reason.KEEPER_LOST:
                return seen
            # The keeper's last duty, done for it: what a run started does not outlive the run.
            if self.sweep(folder.lease, patience_s=1):
                return Seen(seen.handle, Phase.RUNNING, started=seen.started)  # what lives holds its GPU
            self.close(folder.lease, Reason.KEEPER_LOST)
            return seen

    def _judge(self, folder: RunFolder, found: Sequence[Process]) -> Seen:
        spec, started = folder.read("spec") or {}, folder.read("started")
        keeper = next((p for p in found if p.keeper), None) or processes.find_recorded(
            (started or {}).get("keeper")
        )
        child = processes.find_recorded(started)
        ended = folder.read("exit")
        handle = self._handle(folder, keeper or child or _first(found))
        at = _started(folder)
        if ended:
            ago = time.time() - ended["at"] if "at" in ended else None
            sure = ended["reason"] not in _UNSEEN
            return Seen(handle, Phase.EXITED, ended["code"], ended["reason"], at, ago, sure)
        if keeper or child or (found and not started):
            return Seen(handle, Phase.RUNNING, started=at)
        if (started or spec).get("boot_id", processes.boot_id()) != processes.boot_id():
            up_s = processes.uptime_s()
            return Seen(handle, Phase.EXITED, None, Reason.MACHINE_RESTARTED, at, up_s, exact=False)
        reason = Reason.KEEPER_LOST if started else Reason.NEVER_STARTED
        return Seen(handle, Phase.EXITED, None, reason, at, exact=reason not in _UNSEEN)

    def handle(self, lease: str) -> Handle | None:
        """The handle of a recorded run, from its records alone."""
        folder = self.folder(lease)
        return self._handle(folder, None) if folder.exists() else None

    def _handle(self, folder: RunFolder, process: Process | None) -> Handle:
        where = processes.identity(process) if process else _keeper(folder)
        return Handle(folder.lease, self.kind, {**where, "port": (folder.read("spec") or {}).get("port")})

    def ask_to_stop(self, handle: Handle, grace_s: float) -> tuple[Reason, bool]:
        """Pass SIGTERM on to what runs under this lease.

        Gives why it will have ended, unless its keeper says, and whether a keeper is there to end it.
        """
        folder = self.folder(handle.lease)
        if folder.exists():
            before = folder.read("stop") or {}
            # On a full disk it is stopped without the record; its keeper then gives the grace of its start, at
            # most until the caller sweeps.
            with contextlib.suppress(OSError):
                folder.write("stop", {"grace_s": min(grace_s, before.get("grace_s", grace_s)), "at": time.time()})
        seen = self.look(handle)
        found = self.marked(handle.lease)
        keepers = [process for process in found if process.keeper]
        for process in keepers or found:
            processes.send(process, signal.SIGTERM)
        reason = seen.reason if seen.phase is Phase.EXITED else None
        return Reason(reason or Reason.STOPPED), bool(keepers)

    def is_over(self, handle: Handle) -> bool:
        """Whether nothing of this lease runs."""
        return processes.find_recorded(handle.where) is None and not self.marked(handle.lease)

    def sweep(self, lease: str, patience_s: float | None = None) -> list[int]:
        """SIGKILL whatever carries this lease's mark until nothing does; pids that would not go."""
        deadline = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
        clean = 0
        while clean < 2:  # a process shows no mark for an instant while it executes another program
            found = [*self.marked(lease), *self._members(lease)]
            if found and time.monotonic() > deadline:
                return [process.pid for process in found]
            for process in found:
                processes.send(process, signal.SIGKILL)
            clean = 0 if found else clean + 1
            time.sleep(0.01)
            bury()
        return []

    def close(self, lease: str, reason: Reason) -> None:
        """Record how it ended, where the keeper could not."""
        self.isolation.end_limits(lease)
        folder = self.folder(lease)
        if folder.exists() and not folder.read("exit"):
            # On a full disk it has ended all the same: each look finds that anew, with a reason less exact.
            with contextlib.suppress(OSError):
                folder.write("exit", {"code": None, "reason": reason, "detail": None, "at": time.time()})

    def drop(self, lease: str) -> None:
        """Remove all that an ended run left behind; its records last, since they say that there is something."""
        self.isolation.forget(lease)
        self.folder(lease).remove()

    def _ports(self, but: RunFolder) -> set[int]:
        """Ports of the portal and of runs that have not ended. What holds one may not listen on it yet."""
        own = self.settings
        taken = {own.port, own.hub_port, own.portal_port, own.inside_port}
        for kind in Kind:
            for folder in run_folders(self.run / kind):
                if folder.path != but.path and not (folder.path / "exit.json").exists():
                    taken.add((folder.read("spec") or {}).get("port") or 0)
        return taken

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """One start at a time in this data folder; ends with the process that holds it."""
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.run / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def spawn_keeper(folder: RunFolder, environment: Mapping[str, str]) -> Process:
    """Start a keeper in a session of its own; it takes over from here, whatever becomes of this process."""
    null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    log = (os.POSIX_SPAWN_OPEN, 1, str(folder.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    command = [sys.executable, "-I", "-S", processes.KEEPER, str(folder.path)]
    pid = os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[null, log, (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
        setsigmask=[],
        # A portal started in the background ignores SIGINT; kernels below it must not.
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )
    _spawned.add(pid)
    return processes.find(pid) or Process(pid, 0, os.getpid(), pid)


def bury() -> None:
    """Collect ended keepers of ours, so that none stays as a zombie."""
    for pid in list(_spawned):
        try:
            ended = os.waitpid(pid, os.WNOHANG) != (0, 0)
        except ChildProcessError:
            ended = True
        if ended:
            _spawned.discard(pid)


def _certain(seen: Seen) -> bool:
    """Whether records and processes agree; if not, a second look under the start lock decides."""
    return seen.reason not in (Reason.KEEPER_LOST, Reason.NEVER_STARTED)


def _first(found: Iterable[Process]) -> Process | None:
    """The keeper, else the oldest."""
    return min(found, key=lambda process: (not process.keeper, process.start_time), default=None)


def _keeper(folder: RunFolder) -> Mapping[str, Any]:
    """Its identity, from its own record, or from the starter's."""
    own = (folder.read("started") or {}).get("keeper")
    return own or folder.read("keeper") or {"pid": None, "start_time": None, "boot_id": None}


def _started(folder: RunFolder) -> float | None:
    return (folder.read("started") or {}).get("at")

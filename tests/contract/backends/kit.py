"""What the conformance suite needs of a place: fresh backends, work for each kind, and eyes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import (
    ExecutionBackend,
    ExecutionWork,
    Handle,
    Kind,
    Phase,
    Runs,
    Seen,
    ServerBackend,
    ServerWork,
    ServingBackend,
    ServingWork,
    TrainingBackend,
    TrainingWork,
    Work,
)
from dure_hub.backends.embedded import EmbeddedExecutions, EmbeddedServers, EmbeddedServing, EmbeddedTraining
from dure_hub.settings import Settings

HERE = Path(__file__).parent
STUB = "stub"


class Place(ABC):
    """One kind of backend. Every call gives a fresh backend, as if the portal had just been restarted."""

    @abstractmethod
    def servers(self) -> ServerBackend: ...

    @abstractmethod
    def training(self) -> TrainingBackend: ...

    @abstractmethod
    def serving(self) -> ServingBackend: ...

    @abstractmethod
    def executions(self) -> ExecutionBackend: ...

    @abstractmethod
    def work(self, kind: Kind, stub: str = "serve", **changes: Any) -> Work:
        """Work that runs the stub in this mode."""

    def runs(self, kind: Kind) -> Runs:
        backends: dict[Kind, Callable[[], Runs]] = {
            Kind.SERVER: self.servers,
            Kind.JOB: self.training,
            Kind.MODEL: self.serving,
            Kind.EXECUTION: self.executions,
        }
        return backends[kind]()

    async def start(self, work: Work) -> Handle:
        """Start it with a fresh backend; the last handle."""
        if isinstance(work, ServerWork):
            handles = self.servers().start(work)
        elif isinstance(work, TrainingWork):
            handles = self.training().start(work)
        elif isinstance(work, ExecutionWork):
            handles = self.executions().start(work)
        else:
            assert isinstance(work, ServingWork)
            handles = self.serving().start(work)
        return [handle async for handle in handles][-1]

    async def facts(self, handle: Handle) -> dict[str, Any]:
        """What the stub printed first, once it has."""
        backend = self.runs(handle.kind)

        async def first() -> dict[str, Any] | None:
            text = (await backend.log(handle, 0, 1 << 20)).text
            lines = [line for line in text.splitlines(keepends=True) if line.startswith("{")]
            return dict(json.loads(lines[0])) if lines and lines[0].endswith("\n") else None

        return await until(first, lambda: self.report(handle))

    async def ended(self, handle: Handle) -> Seen:
        """What is seen once it has exited."""
        backend = self.runs(handle.kind)

        async def exited() -> Seen | None:
            seen = await backend.poll(handle)
            return seen if seen.phase is Phase.EXITED else None

        return await until(exited, lambda: self.report(handle))

    async def report(self, handle: Handle) -> str:
        """For a test that fails: what the backend sees, and the end of the log."""
        backend = self.runs(handle.kind)
        log = await backend.log(handle, 0, 1 << 20)
        return f"{await backend.poll(handle)}\n{log.text[-2000:]}"


class EmbeddedPlace(Place):
    """Processes of this machine, under a data folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder / "data", instance=os.urandom(6).hex())
        self.code = folder / "code"
        # with what Python itself adds to it at the first import, else the packages change under a fork server
        (self.code / "__pycache__").mkdir(parents=True, exist_ok=True)
        (self.code / "stub.py").write_text((HERE / "stub.py").read_text())

    def servers(self) -> EmbeddedServers:
        return EmbeddedServers(self.settings)

    def training(self) -> EmbeddedTraining:
        return EmbeddedTraining(self.settings, worker=STUB)

    def serving(self) -> EmbeddedServing:
        return EmbeddedServing(self.settings, server=STUB)

    def executions(self) -> EmbeddedExecutions:
        return EmbeddedExecutions(self.settings, program=STUB)

    def work(self, kind: Kind, stub: str = "serve", **changes: Any) -> Work:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.code), "STUB": stub}
        common = {"lease": new_id(), "owner": "ann", "folder": self.code, "environment": environment, **changes}
        if kind is Kind.JOB:
            return TrainingWork(**{"entry": "train.py", "outputs": self.code, "processes": 1, **common})
        if kind is Kind.MODEL:
            return ServingWork(**{"model": self.code, "name": "digits", "version": 3, **common})
        if kind is Kind.EXECUTION:
            return ExecutionWork(**{"notebook": "work.ipynb", "outputs": self.code, **common})
        command = [sys.executable, "-P", "-m", STUB, "{port}"]
        return ServerWork(**{"command": command, "api_token": "s3cret", **common})

    def marked(self, lease: str | None = None) -> dict[int, str]:
        """Pids with a mark of this portal and their leases, found without the code under test."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    parts = (entry / "environ").read_bytes().split(b"\0")
                    mark = title_of(int(entry.name)).split(b":")
                except OSError:
                    continue
                environ = dict(part.partition(b"=")[::2] for part in parts)
                if mark[:2] == [b"dure", self.settings.instance.encode()]:
                    found[int(entry.name)] = mark[3].decode()
                elif (
                    b"DURE_LEASE" in environ
                    and environ.get(b"DURE_PORTAL", b"").decode() == self.settings.instance
                ):
                    found[int(entry.name)] = environ[b"DURE_LEASE"].decode()
        return {pid: name for pid, name in found.items() if lease in (None, name)}

    def run_folder(self, handle: Handle) -> Path:
        return self.settings.folder.run / handle.kind / handle.lease

    async def started(self, handle: Handle) -> dict[str, Any]:
        """The keeper's record of the start, once it is there."""
        path = self.run_folder(handle) / "started.json"

        async def read() -> dict[str, Any] | None:
            return dict(json.loads(path.read_text())) if path.exists() else None

        return await until(read, lambda: self.report(handle))


class WarmPlace(EmbeddedPlace):
    """The same with a fork server for the stub, which all tests share: it is slower to come than any of them."""

    def servers(self) -> EmbeddedServers:
        return EmbeddedServers(self.settings, program=STUB)


def title_of(pid: int) -> bytes:
    """The first word of its command line, which is a mark where it was forked."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].partition(b" ")[0]


T = TypeVar("T")


async def until(
    look: Callable[[], Awaitable[T | None]], report: Callable[[], Awaitable[str]], timeout_s: float = 60
) -> T:
    """The first answer that is not None or False; fails with the report after the timeout."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = await look()
        if answer is not None and answer is not False:
            return answer
        await asyncio.sleep(0.02)
    pytest.fail(await report())


@contextmanager
def no_room(pid: int = 0) -> Iterator[None]:
    """As on a full disk: this process (0 is ours) can make files, and write nothing into any."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended meanwhile
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def deaf(pid: int) -> Iterator[None]:
    """Our signals to this process are lost, as on one that hangs in the kernel."""

    def unless(send: Callable[[int, int], None]) -> Callable[[int, int], None]:
        return lambda target, number: None if target == pid else send(target, number)

    def pidfd_open(target: int, flags: int = 0) -> int:
        if target == pid:
            raise PermissionError(target)
        return opened(target, flags)

    opened = os.pidfd_open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", unless(os.kill))
        patch.setattr(os, "killpg", unless(os.killpg))
        patch.setattr(os, "pidfd_open", pidfd_open)
        yield


def is_alive(pid: int) -> bool:
    """Whether this pid is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

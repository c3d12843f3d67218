"""What the conformance suite needs of a place: fresh backends, work for each kind, and eyes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dure.errors import DureError
from dure.wire.ids import new_id
from dure_hub.backends.base import (
    ExecutionBackend,
    ExecutionWork,
    Feature,
    Handle,
    InventoryBackend,
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
from dure_hub.backends.chosen import backends_of
from dure_hub.backends.embedded import (
    EmbeddedExecutions,
    EmbeddedServers,
    EmbeddedServing,
    EmbeddedTraining,
    choose,
)
from dure_hub.settings import Settings

HERE = Path(__file__).parent
STUB = "stub"
CONTRACT, UNIT = "tests/contract/backends", "tests/unit/embedded"
ACCOUNTS = f"{CONTRACT}/test_accounts.py"
NEEDED: Mapping[Kind, Feature] = {
    Kind.JOB: Feature.TRAINING,
    Kind.MODEL: Feature.SERVING,
    Kind.EXECUTION: Feature.SCHEDULES,
}
"""What a place must be able to do to run something of a kind; servers run everywhere."""


class Place(ABC):
    """One kind of backend. Every call gives a fresh backend, as if the portal had just been restarted.

    A test that takes a `place: Place` is the contract: every place is held to it.
    """

    settings: Settings
    devices: Sequence[str]
    """Names of two devices that one lease can hold here."""
    many = 30
    """Of how many starts at once the contract is seen."""
    ends_early: tuple[type[DureError], ...] = ()
    """What a start raises here of something that has ended before it had an address."""
    exercised: Mapping[Feature, str]
    """Of what this kind of backend may do, by which test that is seen: `tests/FILE.py::NAME`."""

    @abstractmethod
    def servers(self) -> ServerBackend: ...

    @abstractmethod
    def training(self) -> TrainingBackend: ...

    @abstractmethod
    def serving(self) -> ServingBackend: ...

    @abstractmethod
    def executions(self) -> ExecutionBackend: ...

    @abstractmethod
    def inventory(self) -> InventoryBackend: ...

    @abstractmethod
    def make_work(self, kind: Kind, stub: str, **changes: Any) -> Work:
        """Work that runs the stub in this mode. `variables` are added to its environment."""

    @abstractmethod
    def waits(self) -> Sequence[str]:
        """The command of a server that does nothing until it is ended."""

    @abstractmethod
    def says(self, text: str) -> Sequence[str]:
        """The command of a server that says this, and nothing else, and ends."""

    @abstractmethod
    async def marks(self) -> Collection[str]:
        """Leases of which something is there that bears their mark, found without the code under test."""

    @abstractmethod
    async def given(self, handle: Handle) -> Sequence[str]:
        """The devices that this one sees, as it was really given them."""

    def gap(self, kind: Kind) -> Mapping[str, str] | None:
        """Why nothing of this kind runs here, as the backend says it."""
        return self.runs(kind).unsupported.get(NEEDED[kind]) if kind in NEEDED else None

    def gaps(self) -> Mapping[Feature, Mapping[str, str]]:
        """All that this place cannot do, as the portal's own pages have it."""
        return backends_of(self.settings, lambda: datetime.now(UTC)).gaps()

    def work(self, kind: Kind, stub: str = "serve", **changes: Any) -> Work:
        """Work that runs the stub in this mode.

        Where nothing of this kind runs here, the test ends with the backend's own sentence. That it is refused
        with just that is `test_every_kind_runs_or_is_refused_with_its_sentence`.
        """
        if (why := self.gap(kind)) is not None:
            pytest.skip(why["en"])
        return self.make_work(kind, stub, **changes)

    def runs(self, kind: Kind) -> Runs:
        backends: dict[Kind, Callable[[], Runs]] = {
            Kind.SERVER: self.servers,
            Kind.JOB: self.training,
            Kind.MODEL: self.serving,
            Kind.EXECUTION: self.executions,
        }
        return backends[kind]()

    def handles(self, work: Work) -> AsyncIterator[Handle]:
        """A start of it with a fresh backend."""
        if isinstance(work, ServerWork):
            return self.servers().start(work)
        if isinstance(work, TrainingWork):
            return self.training().start(work)
        if isinstance(work, ExecutionWork):
            return self.executions().start(work)
        assert isinstance(work, ServingWork)
        return self.serving().start(work)

    async def start(self, work: Work) -> Handle:
        """Start it; the last handle, also of what ends at once."""
        last = None
        try:
            async for handle in self.handles(work):
                last = handle
        except self.ends_early:
            if last is None:
                raise
        assert last is not None
        return last

    async def clear(self) -> None:
        """Whatever runs here is stopped and forgotten, and must then be gone."""
        for kind in Kind:
            backend = self.runs(kind)
            await asyncio.gather(*(backend.stop(seen.handle, 0) for seen in await backend.seen()))
            await asyncio.gather(*(backend.forget(seen.handle) for seen in await backend.seen()))
        assert not await self.marks()

    async def facts(self, handle: Handle) -> dict[str, Any]:
        """What the stub printed first, once it has."""
        return (await self.printed(handle, 1))[0]

    async def printed(self, handle: Handle, count: int) -> Sequence[dict[str, Any]]:
        """What the stub printed: first what it is, then what it was asked. Waits for so many of them."""
        backend = self.runs(handle.kind)

        async def enough() -> Sequence[dict[str, Any]] | None:
            text = (await backend.log(handle, 0, 1 << 20)).text
            lines = [line for line in text.splitlines(keepends=True) if line.startswith("{")]
            found = [dict(json.loads(line)) for line in lines if line.endswith("\n")]
            return found if len(found) >= count else None

        return await until(enough, lambda: self.report(handle))

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

    devices = ("GPU-1f", "GPU-2e")
    exercised: Mapping[Feature, str] = {
        Feature.GPU: "tests/e2e/test_real_gpu.py::test_a_server_sees_its_gpu_and_nobody_elses",
        Feature.MEMORY_LIMIT: f"{ACCOUNTS}::test_who_takes_more_memory_than_the_profile_has_is_told_so",
        Feature.CPU_LIMIT: f"{ACCOUNTS}::test_limits_are_those_of_the_lease_and_gone_with_it",
        Feature.USER_ISOLATION: f"{ACCOUNTS}::test_what_runs_is_its_owners_user_and_can_become_nobody_else",
        Feature.MIG: f"{UNIT}/test_nvmlmig.py::test_an_instance_is_made_where_it_was_asked_for_and_removed_again",
        Feature.GPU_SHARING: f"{UNIT}/test_pieces.py::test_a_holder_of_a_share_is_kept_to_it_by_mps",
        Feature.TRAINING: f"{CONTRACT}/test_training.py::test_two_ranks_of_the_sdks_worker_add_up_over_gloo",
        Feature.SERVING: "tests/e2e/test_train_serve.py::test_a_tenth_of_the_requests_goes_to_the_canary",
        Feature.SCHEDULES: f"{CONTRACT}/test_executions.py::test_a_notebook_runs_with_its_parameters_and_is_kept",
        Feature.OWN_TMP: f"{ACCOUNTS}::test_each_has_a_tmp_of_their_own_in_which_the_portal_is_still_found",
        Feature.OWN_PYTHON: "tests/e2e/test_own_python.py"
        "::test_a_cell_installs_for_good_and_the_portal_stays_as_it_was",
        Feature.SHARED_FOLDERS: f"{CONTRACT}/test_shared_folders.py::test_what_one_writes_all_may_change",
    }

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

    def inventory(self) -> InventoryBackend:
        return choose(self.settings, lambda: datetime.now(UTC))

    def make_work(self, kind: Kind, stub: str = "serve", **changes: Any) -> Work:
        variables = changes.pop("variables", {})
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.code), "STUB": stub, **variables}
        common = {"lease": new_id(), "owner": "ann", "folder": self.code, "environment": environment, **changes}
        if kind is Kind.JOB:
            return TrainingWork(**{"entry": "train.py", "outputs": self.code, "processes": 1, **common})
        if kind is Kind.MODEL:
            return ServingWork(**{"model": self.code, "name": "digits", "version": 3, **common})
        if kind is Kind.EXECUTION:
            return ExecutionWork(**{"notebook": "work.ipynb", "outputs": self.code, **common})
        command = [sys.executable, "-P", "-m", STUB, "{port}"]
        return ServerWork(**{"command": command, "api_token": "s3cret", **common})

    def waits(self) -> Sequence[str]:
        return ["sleep", "600"]

    def says(self, text: str) -> Sequence[str]:
        return ["printf", "%s", text]

    async def marks(self) -> Collection[str]:
        return set(self.marked().values())

    async def given(self, handle: Handle) -> Sequence[str]:
        shown = str((await self.facts(handle))["CUDA_VISIBLE_DEVICES"])
        return [device for device in shown.split(",") if device]

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

"""Real processes for these tests: one Envoy on a data folder, and upstreams; each ended by its own id."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure_hub.dataplane import Cluster, Dataplane, alive, command, write_bootstrap
from dure_hub.dataplane.admin import Admin, EnvoyAway
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.remote import Elsewhere, own_name, remote_command, write_remote_bootstrap
from dure_hub.settings import Settings

UP_S = 30.0


@dataclass
class Upstream:
    """One upstream process."""

    name: str
    address: str
    process: subprocess.Popen[bytes]

    def cluster(self, fallback: str | None = None) -> Cluster:
        return Cluster(self.name, self.address, fallback)


@dataclass
class World:
    """A running Envoy and what it can be asked."""

    settings: Settings
    process: subprocess.Popen[bytes]
    port: int
    admin: Admin
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    def plane(self) -> Dataplane:
        return Dataplane(self.settings)

    def client(self, **options: object) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False, **options)  # type: ignore[arg-type]

    async def ask(self, path: str, **headers: str) -> httpx.Response:
        """GET the path as written: httpx would tidy it."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client() as client:
            return await client.get(httpx.URL(self.url, raw_path=path.encode()), headers=names)


@dataclass
class Load:
    """Requests that go on until told to stop; every answer and every failure is counted."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    @property
    def total(self) -> int:
        return self.answers.total() + self.failures.total()

    async def reach(self, number: int) -> None:
        """Wait until so many were answered in all."""
        async with asyncio.timeout(2 * UP_S):
            while self.total < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def run(self, world: World, path: str, method: str = "GET") -> None:
        async with world.client() as client:
            while not self.stopped:
                try:
                    answer = await client.request(method, path)
                except httpx.HTTPError as error:
                    self.failures[type(error).__name__] += 1
                    continue
                if answer.status_code == 200:
                    self.answers[answer.json()["name"]] += 1
                else:
                    self.failures[str(answer.status_code)] += 1


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def upstream(name: str, address: str, log: Path) -> Iterator[Upstream]:
    """An upstream that accepts connections."""
    argument = address.removeprefix("unix:").rpartition(":")[2]
    command_line = [sys.executable, str(Path(__file__).with_name("upstream.py")), name, argument]
    with running(command_line, log, lambda: _accepts(address)) as process:
        yield Upstream(name, address, process)


@contextmanager
def envoy(settings: Settings) -> Iterator[World]:
    """An Envoy that is LIVE."""
    write_bootstrap(settings)
    log = settings.folder.log / "envoy.log"
    with running(command(settings), log, here(lambda: alive(settings))) as process:
        yield World(settings, process, settings.port, Admin(Files(settings.folder).socket))


@contextmanager
def portal(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """What answers Envoys that run elsewhere, as the portal service does, in a process of its own."""
    settings.save()
    command_line = [sys.executable, "-m", "tests.contract.dataplane.answering", str(settings.folder.root)]
    accepts = partial(_accepts, f"127.0.0.1:{settings.xds_port}")
    with running(command_line, settings.folder.log / "xds.log", accepts) as process:
        yield process


def local() -> tuple[str, int]:
    """A free port of this machine's own."""
    return "127.0.0.1", free_port()


def elsewhere(settings: Settings, folder: Path, host: str = "127.0.0.1", **more: Any) -> Elsewhere:
    """An Envoy that asks this portal, with a folder of its own."""
    values = {"token": settings.folder.secret("xds-token"), "listen": local(), "statistics": local(), **more}
    return Elsewhere(name=own_name("test"), xds=(host, settings.xds_port), folder=folder, **values)


@contextmanager
def remote_envoy(settings: Settings, made: Elsewhere, *, live: bool = True) -> Iterator[World]:
    """Such an Envoy: LIVE, or only begun."""
    write_remote_bootstrap(made)
    admin = Admin(made.admin)

    async def up() -> bool:
        try:
            return await admin.live() or not live
        except EnvoyAway:
            return False

    with running(remote_command(made), settings.folder.log / f"{made.name}.log", here(up)) as process:
        yield World(settings, process, made.listen[1], admin)


def here(question: Callable[[], Coroutine[Any, Any, bool]]) -> Callable[[], bool]:
    """The same where a loop may be running already."""

    def ask() -> bool:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, question()).result()

    return ask


@contextmanager
def running(command_line: list[str], log: Path, up: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is up; where it does not come up, the test fails with its log."""
    with log.open("ab") as out:
        process = subprocess.Popen(command_line, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + UP_S
        while not up():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command_line[0]}: exit code {process.poll()}\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def _accepts(address: str) -> bool:
    unix = address.startswith("unix:")
    target = address.removeprefix("unix:") if unix else ("127.0.0.1", int(address.rpartition(":")[2]))
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as sock:
        return sock.connect_ex(target) == 0

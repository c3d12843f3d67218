"""What is forked is as good as a new process and holds nothing of anybody else's; what cannot be so starts new."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason, ServerWork
from dure_hub.backends.embedded import EmbeddedServers, processes, warm
from dure_hub.spawners.local import LAB
from tests.contract.backends.kit import HERE, EmbeddedPlace, is_alive, until
from tests.e2e.portal import until as wait
from tests.support.warm import begin, fork_server, listening, log_of, until_listening

PROBE = "probe"


class Probes(EmbeddedPlace):
    """A portal whose fork server runs the probe."""

    process: subprocess.Popen[bytes]
    begun: int

    def servers(self) -> EmbeddedServers:
        return EmbeddedServers(self.settings, program=PROBE)

    def person(self, name: str, **more: str) -> ServerWork:
        """Somebody's server, with all that is theirs."""
        home = self.code.parent / name
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": f"/opt/{name}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(self.code),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "USER": name,
            "LOGNAME": name,
            "TZ": "Asia/Seoul" if name == "ana" else "America/Lima",
            "TMPDIR": str(home),
            "JUPYTERHUB_API_TOKEN": f"token-of-{name}",
            "JUPYTERHUB_API_URL": f"http://hub-of-{name}/hub/api",
            "JUPYTERHUB_SERVICE_PREFIX": f"/user/{name}/",
            "JUPYTER_CONFIG_PATH": f"/etc/{name}",
            "JUPYTER_PATH": f"/share/{name}",
            **more,
        }
        command = [*warm.command(PROBE), "--of", name]
        return ServerWork(new_id(), name, home, environment, command=command, api_token=f"secret-of-{name}")

    async def told(self, work: ServerWork) -> dict[str, Any]:
        """What the probe says of itself, once it has ended well."""
        handle = await self.start(work)
        facts = await self.facts(handle)
        seen = await self.ended(handle)
        assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), await self.report(handle)
        return facts

    async def warm_and_cold(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same person's server, forked and new."""
        forked = self.person(name)
        found = await self.told(forked)
        assert self.was_forked(forked)
        new = Probes(self.code.parent)
        new.settings = self.settings.model_copy(update={"warm_starts": False})
        work = self.person(name)
        cold = await new.told(work)
        assert not self.was_forked(work)
        for facts, lease in ((found, forked.lease), (cold, work.lease)):
            assert facts["same"]["environment"].pop("DURE_LEASE") == lease
            facts["open"] = {number: place.replace(lease, "LEASE") for number, place in facts["open"].items()}
        return found, cold

    def was_forked(self, work: ServerWork) -> bool:
        """By what the keeper has written into the log of the fork server: nothing tells it from inside."""
        keeper = json.loads((self.settings.folder.run / "server" / work.lease / "started.json").read_text())[
            "keeper"
        ]
        return f"Process {keeper['pid']} keeps {work.lease}\n" in log_of(self.settings).read_text()


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probes]:
    """With a fork server that has seen nobody's environment but this one."""
    place = Probes(tmp_path_factory.mktemp("probes"))
    (place.code / "probe.py").write_text((HERE / "probe.py").read_text())
    nobody = {
        "PYTHONPATH": str(place.code),
        "LANG": "C.UTF-8",
        "HOME": "/home-of-nobody",
        "USER": "user-nobody",
        "PATH": f"/bin-of-nobody:{os.environ['PATH']}",
        "JUPYTERHUB_API_URL": "http://hub-of-nobody/hub/api",
        "JUPYTERHUB_SERVICE_PREFIX": "/prefix-of-nobody/",
    }
    with fork_server(place.settings, PROBE, nobody) as process:
        place.process = process
        yield place


def test_what_the_spawner_starts_is_what_a_fork_server_takes() -> None:
    assert list(LAB) == warm.command()


async def test_a_forked_server_is_in_nothing_unlike_a_new_one(probes: Probes) -> None:
    before = os.umask(0o077)  # the hub's, which a new one inherits
    try:
        forked, cold = await probes.warm_and_cold("ana")
    finally:
        os.umask(before)
    assert forked["same"] == cold["same"]
    assert forked["open"] == cold["open"]
    assert set(forked["open"]) == {"0", "1", "2"}
    assert forked["same"]["alone"] == [True, True, "1"]
    assert forked["same"]["umask"] == 0o077
    assert forked["same"]["hub"][0] == "http://hub-of-ana/hub/api"


async def test_nothing_of_nobody_or_somebody_else_is_in_a_forked_server(probes: Probes) -> None:
    await probes.told(probes.person("ana"))
    others = "of-nobody|user-nobody|token-of-ana|secret-of-ana|hub-of-ana|/user/ana/"
    facts = await probes.told(probes.person("ben", STRANGERS=others))
    assert facts["strangers"] == []
    seen = await probes.told(probes.person("ben", STRANGERS="token-of-b"))
    assert seen["strangers"], "the search finds what is there"


async def test_two_forks_share_no_chance(probes: Probes) -> None:
    first, second = [(await probes.told(probes.person("ana")))["own"] for _ in range(2)]
    assert {name for name in first if first[name] == second[name]} == set()


@pytest.mark.parametrize(
    "more",
    [
        {"PYTHONHASHSEED": "1"},
        {"LD_LIBRARY_PATH": "/x"},
        {"LC_ALL": "C"},
        {"JUPYTERHUB_SINGLEUSER_APP": "notebook"},
    ],
)
async def test_what_is_settled_at_import_and_asked_for_otherwise_starts_new(
    probes: Probes, more: dict[str, str]
) -> None:
    work = probes.person("ana", **more)
    handle = await probes.start(work)
    await probes.ended(handle)
    assert not probes.was_forked(work)
    await probes.servers().forget(handle)


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"null",
        b'{"lease": "x"}',
        b'{"lease": "../../x", "kind": "server", "environment": {}}',
        b'{"lease": 1, "kind": "server", "environment": {}}',
        b'{"lease": "never", "kind": "server", "environment": {}}',
        b'{"lease": "never", "kind": "root", "environment": {}}',
        b'{"lease": "never", "kind": "server", "environment": {"A": 1}}',
        b'{"lease": "never", "kind": "server", "environment": {"A=B": "1"}}',
        b'{"lease": "never", "kind": "server", "environment": {"A": "\\u0000"}}',
        b'{"lease": "never", "kind": "server", "environment": {}, "more": 1}',
        b'{"lease": "never", "kind": "server", "environment": {"A": "' + b"x" * warm.LIMIT + b'"}}',
    ],
    ids=range(15),
)
async def test_only_well_formed_orders_of_recorded_runs_are_taken(probes: Probes, asked: bytes) -> None:
    answer = ask(probes, asked)
    assert b"pid" not in answer
    assert (b"refused" in answer) == bool(asked)
    assert probes.process.poll() is None
    assert probes.marked() == {}


async def test_another_program_than_its_own_is_not_run(probes: Probes, tmp_path: Path) -> None:
    work = probes.person("ana")
    order = warm.Order(work.lease, Kind.SERVER, work.environment)
    folder = probes.settings.folder.run / "server" / work.lease
    folder.mkdir(parents=True)
    spec = {"lease": work.lease, "kind": "server", "command": ["touch", str(tmp_path / "was-here")], "cwd": "/"}
    (folder / "spec.json").write_text(json.dumps(spec))
    assert json.loads(ask(probes, order.encoded())) == {"refused": "another command"}
    await probes.servers().forget(Handle(work.lease, Kind.SERVER, {}))


def ask(place: Probes, order: bytes) -> bytes:
    """Send this to the fork server; all it answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(warm.socket_path(place.settings)))
        try:
            connection.sendall(order)
            connection.shutdown(socket.SHUT_WR)
            return warm.received(connection)
        except ConnectionError:  # it did not read all of what is too long
            return b"refused"


def test_only_its_own_user_may_connect_and_it_holds_no_secret(probes: Probes) -> None:
    assert stat.S_IMODE(warm.socket_path(probes.settings).stat().st_mode) == 0o600
    shown = Path(f"/proc/{probes.process.pid}/environ").read_bytes()
    assert b"token" not in shown.lower()
    assert b"DURE_SERVICE=warm" in shown


async def test_servers_outlive_the_fork_server_and_start_without_it(tmp_path: Path) -> None:
    place = Probes(tmp_path)
    (place.code / "probe.py").write_text(LASTING)
    with fork_server(place.settings, PROBE, {"PYTHONPATH": str(place.code), "LANG": "C.UTF-8"}) as process:
        first = place.person("ana")
        handle = await place.start(first)
        facts = await place.facts(handle)
        assert place.was_forked(first)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert is_alive(facts["pid"])
        for one in (await place.servers().poll(handle), *await place.servers().seen()):
            assert (one.handle.lease, one.phase) == (first.lease, Phase.RUNNING)
        second = place.person("ben")
        other = await place.start(second)
        await place.facts(other)
        assert not place.was_forked(second)
        await asyncio.gather(*(place.servers().stop(one, grace_s=5) for one in (handle, other)))
        assert (await place.servers().poll(handle)).reason == Reason.STOPPED
        assert place.marked() == {}


LASTING = """
import json, os, signal
if __name__ == "__main__":
    print(json.dumps({"pid": os.getpid()}), flush=True)
    while True:
        signal.pause()
"""


async def test_one_that_hangs_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "PATIENCE_S", 0.3)
    place = Probes(tmp_path)
    (place.code / "probe.py").write_text(LASTING)
    with fork_server(place.settings, PROBE, {"PYTHONPATH": str(place.code), "LANG": "C.UTF-8"}) as process:
        servers = place.servers()
        os.kill(process.pid, signal.SIGSTOP)
        works = [place.person("ana"), place.person("ben")]
        handles = [[handle async for handle in servers.start(work)][-1] for work in works]
        waited = [servers.runner.warm._not_before] if servers.runner.warm else []
        assert waited[0] > 0
        pids = [(await place.facts(handle))["pid"] for handle in handles]
        os.kill(process.pid, signal.SIGCONT)  # what it was asked for comes twice now, and gives way
        until_listening(place.settings, process)

        async def once() -> bool:
            mains = [pid for pid in place.marked() if not is_keeper(pid)]
            return sorted(mains) == sorted(pids)

        await until(once, lambda: place.report(handles[0]))
        await asyncio.gather(*(place.servers().stop(handle, grace_s=5) for handle in handles))
        assert place.marked() == {}


def is_keeper(pid: int) -> bool:
    """Whether this keeps a run."""
    found = processes.find(pid)
    words = Path(f"/proc/{pid}/cmdline").read_bytes()
    return found is not None and (processes.KEEPER.encode() in words or b" keeper" in words)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n",
            "an import has started 1 threads",
        ),
        ("import mmap\nkept = mmap.mmap(-1, 4096)\n", "an import has made memory that a fork would share"),
    ],
)
def test_what_a_fork_would_share_is_never_forked(tmp_path: Path, code: str, why: str) -> None:
    place = Probes(tmp_path)
    (place.code / "probe.py").write_text(code)
    place.settings.folder.create()
    place.settings.save()
    process = begin(place.settings, PROBE, {"PYTHONPATH": str(place.code), "LANG": "C.UTF-8"})
    try:
        wait(lambda: log_of(place.settings).read_text(), "a line in the log")
        assert log_of(place.settings).read_text() == f"No warm starts: {why}\n"
        assert not listening(place.settings)
        assert process.poll() is None, "it would start again and again"
    finally:
        process.kill()
        process.wait()


GROWING = """
from pathlib import Path
def preload():
    (Path(__file__).parent / "installed_meanwhile").mkdir(exist_ok=True)
"""


def test_packages_that_change_while_they_are_imported_are_imported_anew(tmp_path: Path) -> None:
    place = Probes(tmp_path)
    (place.code / "probe.py").write_text(GROWING)
    environment = {"PYTHONPATH": str(place.code), "LANG": "C.UTF-8"}
    place.settings.folder.create()
    place.settings.save()
    first = begin(place.settings, PROBE, environment)
    try:
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.wait()
    assert log_of(place.settings).read_text().startswith("Packages have changed while they were imported")
    with fork_server(place.settings, PROBE, environment) as second:  # as the supervisor starts it again
        assert second.poll() is None


def test_one_that_is_unfit_by_packages_of_before_is_tried_again(tmp_path: Path) -> None:
    place = Probes(tmp_path)
    (place.code / "probe.py").write_text(f"{GROWING}    raise RuntimeError('half of it is there')")
    place.settings.folder.create()
    place.settings.save()
    process = begin(place.settings, PROBE, {"PYTHONPATH": str(place.code), "LANG": "C.UTF-8"})
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert "half of it is there" in log_of(place.settings).read_text()

"""What a server is started with; the start itself is in tests/e2e/test_hub.py."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm

from dure.errors import NotReady
from dure_hub.backends.base import Handle, Kind, Phase, Seen
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.backends.embedded.processes import boot_id
from dure_hub.backends.embedded.records import RunFolder
from dure_hub.backends.embedded.runner import Plan, Runner
from dure_hub.operations import shared_folders
from dure_hub.settings import Settings
from dure_hub.spawners import leased, local
from dure_hub.spawners.folder import SCHEDULED, TUTORIALS, prepare_folder, shipped
from dure_hub.spawners.local import DureLocalSpawner
from dure_hub.spawners.refusal import Refused
from dure_hub.store import Clock, system_clock
from tests.support.grants import make_grant


@dataclass
class Parts:
    """As much of the operations as a spawner needs before it starts anything."""

    settings: Settings
    servers: EmbeddedServers
    store: None = None
    clock: Clock = field(default_factory=partial(system_clock, None))


class Blind(EmbeddedServers):
    """A machine that cannot be looked at just now."""

    async def poll(self, handle: Handle) -> Seen:
        """Fail."""
        raise OSError("too many open files")


def make_spawner(
    tmp_path: Path, command: Sequence[str] = (), backend: type[EmbeddedServers] = EmbeddedServers
) -> DureLocalSpawner:
    """A spawner of ana's, as the hub makes it."""
    settings = Settings(data=tmp_path, port=8123, server_command=list(command), instance="0123456789ab")
    settings.folder.create()
    operations: Any = Parts(settings, backend(settings))
    spawner = DureLocalSpawner.using(operations)(hub_connect_url="http://127.0.0.1:8081")
    spawner.user = SimpleNamespace(name="ana", escaped_name="ana", url="/user/ana/")
    spawner.hub = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1:8081/hub/api")
    spawner.orm_spawner = SimpleNamespace(
        name="", server=orm.Server(proto="http", ip="", port=0, cookie_name="x", base_url="/user/ana/"), state=None
    )
    spawner.api_token = "secret-of-ana"
    spawner.lease = "01J00000000000000000000000"
    spawner.grant = make_grant(spawner.lease)
    return spawner


def test_the_environment_is_the_persons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_DATA", "hub only")
    monkeypatch.setenv("SOME_SECRET", "hub only")
    environment = make_spawner(tmp_path).get_env()
    folder = str(tmp_path / "users" / "ana")
    expected = {
        "HOME": folder,
        "LOGNAME": "ana",
        "USER": "ana",
        "DURE_URL": "http://127.0.0.1:8123",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:8123/services/mlflow",
        "MLFLOW_TRACKING_TOKEN": "secret-of-ana",
        "JUPYTERHUB_API_TOKEN": "secret-of-ana",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:{port}/user/ana/",
        "JUPYTERHUB_ROOT_DIR": folder,
    }
    assert {key: environment.get(key) for key in expected} == expected
    assert environment["PATH"].startswith(str(Path(sys.executable).parent) + os.pathsep)
    assert "hub only" not in environment.values()


def test_no_secret_is_in_the_command(tmp_path: Path) -> None:
    work = make_spawner(tmp_path)._work()
    assert "secret-of-ana" not in " ".join(work.command)
    assert work.api_token == "secret-of-ana"
    assert work.folder == tmp_path / "users" / "ana"


def test_a_command_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    assert list(make_spawner(tmp_path, ["my-server", "{port}"])._work().command) == ["my-server", "{port}"]


def test_a_form_can_choose_only_profile_and_lease(tmp_path: Path) -> None:
    options = make_spawner(tmp_path).options_from_form(
        {"profile": ["cpu"], "lease": ["x" * 100], "_xsrf": ["y"], "profile_file": [{"body": b""}], "empty": []}
    )
    assert options == {"profile": "cpu", "lease": "x" * 60}


async def test_a_hub_that_lost_its_state_says_there_is_no_server(tmp_path: Path) -> None:
    spawner = make_spawner(tmp_path)
    spawner.clear_state()
    spawner.load_state({})
    assert await spawner.poll() == 0
    assert spawner.get_state() == {}


async def test_a_lease_without_a_record_is_not_running(tmp_path: Path) -> None:
    spawner = make_spawner(tmp_path)
    spawner.load_state({"lease": "01J00000000000000000000001"})
    assert await spawner.poll() is not None


async def test_a_look_that_fails_does_not_end_a_server(tmp_path: Path) -> None:
    spawner = make_spawner(tmp_path, backend=Blind)
    spawner.load_state({"lease": "01J00000000000000000000001", "where": {"port": 1}})
    assert await spawner.poll() is None


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.GONE])
async def test_a_stop_that_failed_keeps_the_slice(tmp_path: Path, phase: Phase) -> None:
    class Stuck(EmbeddedServers):
        async def poll(self, handle: Handle) -> Seen:
            return Seen(handle, phase)

    ended: list[str] = []

    class Leases:
        async def ended(self, lease: str, reason: str, *_seen: object) -> None:
            ended.append(lease)

    spawner = make_spawner(tmp_path, backend=Stuck)
    spawner.operations.environments = Leases()  # type: ignore[assignment]
    spawner.load_state({"lease": "01J00000000000000000000001", "where": {"port": 1}})
    await spawner.run_post_stop_hook()
    assert ended == ([] if phase is Phase.RUNNING else ["01J00000000000000000000001"])


class Ends:
    """Keeps which leases were said to have ended."""

    def __init__(self) -> None:
        self.leases: list[str] = []

    async def ended(self, lease: str, reason: str, *_seen: object) -> None:
        """One more."""
        self.leases.append(lease)


@pytest.mark.parametrize("recorded", [False, True])
async def test_what_a_killed_hub_never_started_keeps_its_lease_for_the_next_start(
    tmp_path: Path, recorded: bool
) -> None:
    spawner, ends = make_spawner(tmp_path), Ends()
    spawner.operations.environments = ends  # type: ignore[assignment]
    lease = "01J00000000000000000000001"
    if recorded:  # killed after the record of the start and before the start itself
        run = spawner.operations.servers.runner.folder(lease)  # type: ignore[attr-defined]
        run.create({"lease": lease, "port": 1, "secret": "x", "boot_id": boot_id()}, {})
    spawner.load_state({"lease": lease})
    await spawner.run_post_stop_hook()
    assert ends.leases == []


async def test_a_start_that_fails_in_this_hub_before_anything_was_started_ends_its_lease(tmp_path: Path) -> None:
    spawner, ends = make_spawner(tmp_path), Ends()
    spawner.operations.environments = ends  # type: ignore[assignment]
    spawner.claimed_here = True
    await spawner.run_post_stop_hook()
    assert ends.leases == [spawner.lease]


async def test_what_a_start_that_the_hub_gave_up_had_begun_is_found_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, start = threading.Event(), threading.Event(), Runner._start

    def slowly(self: Runner, folder: RunFolder, plan: Plan) -> Handle:
        begun.set()
        assert go_on.wait(60)
        return start(self, folder, plan)

    monkeypatch.setattr(Runner, "_start", slowly)
    spawner = make_spawner(tmp_path, [sys.executable, "-c", "import signal; signal.pause()"])
    starting = asyncio.create_task(spawner.start())
    assert await asyncio.to_thread(begun.wait, 60)
    starting.cancel()  # as the hub does after `start_timeout`
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await spawner.poll() is None, "else the hub would not stop it"
    await spawner.stop(now=True)
    assert await spawner.poll() is not None


@pytest.mark.parametrize("kind", [TUTORIALS, SCHEDULED])
def test_shipped_notebooks_come_once_and_are_never_overwritten(tmp_path: Path, kind: str) -> None:
    settings = Settings(data=tmp_path)
    settings.folder.create()
    folder = prepare_folder(settings, "ana")
    assert folder.stat().st_mode & 0o777 == 0o700
    source = shipped(kind)
    assert source is not None
    names = sorted(path.name for path in source.glob("*.ipynb"))
    assert sorted(path.name for path in (folder / kind).glob("*")) == names
    for name in names:
        (folder / kind / name).write_text("mine")
    prepare_folder(settings, "ana")
    assert all((folder / kind / name).read_text() == "mine" for name in names)


def test_servers_of_one_person_that_start_at_once_find_the_same_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(source: Path, target: Path) -> None:
        time.sleep(0.002)  # so that they meet
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(shutil, "copyfile", slowly)
    settings = Settings(data=tmp_path)
    settings.folder.create()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: prepare_folder(settings, "ana"), range(4)))
    assert len(set(found)) == 1
    assert sorted(path.name for path in found[0].iterdir()) == [SCHEDULED, TUTORIALS]


async def test_a_start_does_not_fail_where_nobody_can_tell_who_is_let_in(tmp_path: Path) -> None:
    class Away:
        async def started(self, *_server: object) -> None:
            raise NotReady(part="jupyterhub")

    spawner = make_spawner(tmp_path)
    spawner.handle = Handle("a", Kind.SERVER)
    spawner.operations.shares = Away()  # type: ignore[assignment]
    await spawner._look_at_guests()


class Rows:
    """What is kept of starts that failed; nothing where the store is away."""

    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.kept: list[tuple[str, str, str]] = []

    async def save_handle(self, handle: Handle) -> None:
        """Nobody looks at it here."""

    async def start_failed(self, lease: str, reason: str, log: str) -> None:
        """Keep it."""
        if self.away:
            raise RuntimeError("no store")
        self.kept.append((lease, reason, log))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/secret/place"), "No space left on device"),
        (RuntimeError("a bug's own text"), "RuntimeError"),
    ],
)
async def test_what_nobody_thought_of_is_a_reason_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """Else its owner reads that it was stopped."""

    def fails(_settings: Settings, _person: str) -> Path:
        raise error

    spawner, rows = make_spawner(tmp_path), Rows()
    spawner.operations.environments = rows  # type: ignore[assignment]
    monkeypatch.setattr(local, "prepare_folder", fails)
    with pytest.raises(Refused) as refused:
        await spawner.start()
    sentence = f"The portal could not start the server: {said}."
    assert rows.kept == [(spawner.lease, sentence, "")]
    assert refused.value.jupyterhub_message.startswith(sentence)
    assert refused.value.headers["X-Dure-Code"] == "start_broke"


@pytest.mark.parametrize("away", [False, True], ids=["", "and the store is away"])
async def test_what_had_begun_is_ended_whatever_else_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    async def fails(*_args: object, **_facts: object) -> None:
        raise RuntimeError("a bug")

    spawner, rows = make_spawner(tmp_path, ["sh", "-c", "echo the last words; exec sleep 600"]), Rows(away)
    spawner.operations.settings.folder.create()
    monkeypatch.setattr(shared_folders, "arrange", nothing)
    spawner.operations.environments = rows  # type: ignore[assignment]
    monkeypatch.setattr(leased, "until_answers", fails)
    with pytest.raises(Refused, match="RuntimeError"):
        await spawner.start()
    assert spawner.handle is not None
    assert (await spawner.operations.servers.poll(spawner.handle)).phase is not Phase.RUNNING
    expected = [] if away else ["The portal could not start the server: RuntimeError."]
    assert [reason for _, reason, _ in rows.kept] == expected


async def nothing(*_args: object) -> tuple[str, ...]:
    """Nobody shares a folder here."""
    return ()

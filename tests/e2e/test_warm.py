"""People's servers from the fork server, as the hub starts them: each its owner's alone, and outliving both."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from dure_hub.accounts import add_user
from dure_hub.backends.embedded import EmbeddedServers
from tests.e2e.kernels import compute
from tests.e2e.portal import mark_of, until
from tests.support.hub import RealHub, hub_settings, real_hub

pytestmark = pytest.mark.timeout(300)
PEOPLE = ("ana", "ben")


@dataclass
class Server:
    """A running JupyterLab of somebody's, with its own token."""

    hub: RealHub
    user: str
    process: psutil.Process
    token: str

    def ask(self, path: str, token: str | None = None) -> httpx.Response:
        """GET from this server, with its owner's token unless told otherwise."""
        headers = {"Authorization": f"token {token or self.token}"}
        return httpx.get(f"{self.hub.url}/user/{self.user}/api{path}", headers=headers, timeout=60)

    def run(self, code: str) -> str:
        """What this prints in a kernel of the server."""
        headers = {"Authorization": f"token {self.token}"}
        base = f"{self.hub.url}/user/{self.user}/api/kernels"
        kernel = httpx.post(base, headers=headers, json={}, timeout=60).raise_for_status().json()["id"]
        with connect(f"{base.replace('http', 'ws')}/{kernel}/channels", additional_headers=headers) as socket:
            return compute(socket, code, patience_s=90)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """A hub with a fork server beside it."""
    settings = hub_settings(tmp_path_factory.mktemp("warm"), [])
    for name in PEOPLE:
        add_user(settings, name, f"{name}-secret")
    with real_hub(settings) as hub:
        hub.start("warm")
        for name in PEOPLE:
            hub.log_in(name, f"{name}-secret")
        yield hub


@pytest.fixture(scope="module")
def servers(hub: RealHub) -> tuple[Server, Server]:
    """Ana's and ben's."""
    ana, ben = [start(hub, name) for name in PEOPLE]
    return ana, ben


def start(hub: RealHub, name: str) -> Server:
    """Start somebody's server through the hub's API and wait until it is ready."""
    known = {process.pid for process in hub.marked("server")}
    with hub.api() as api:
        api.post(f"/users/{name}/server").raise_for_status()
    hub.ready(name)
    found: dict[int, int] = {}
    for one in hub.marked("server"):
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.pid not in known and is_forked(one):
                found[one.pid] = one.ppid()
    # what it starts has its title, too, until that is another program
    (process,) = [psutil.Process(pid) for pid, parent in found.items() if parent not in found]
    mark = mark_of(process)
    recalled = EmbeddedServers(hub.settings).recall(mark[2] if mark else "")
    assert recalled is not None
    return Server(hub, name, process, recalled[1])


def is_forked(process: psutil.Process) -> bool:
    """Whether it is a forked server itself: its keeper has a word more, and what it runs has no such title."""
    first = process.cmdline()[0]
    return first.startswith("dure:") and " " not in first


def test_each_answers_its_owner_alone_and_stands_in_their_home(
    hub: RealHub, servers: tuple[Server, Server]
) -> None:
    ana, ben = servers
    assert hub.forked() == 2
    for one, other in ((ana, ben), (ben, ana)):
        assert one.ask("/status").status_code == 200
        assert one.ask("/status", token=other.token).status_code in (401, 403)
    said = "import os, json; print(json.dumps([os.getcwd(), dict(os.environ)]))"
    for one in servers:
        place, environment = json.loads(one.run(said))
        home = hub.settings.folder.users / one.user
        assert (place, environment["HOME"], environment["USER"]) == (str(home), str(home), one.user)
        assert environment["JUPYTERHUB_API_TOKEN"] == one.token
        assert "DURE_SERVICE" not in environment
        other = ben if one is ana else ana
        assert other.token not in json.dumps(environment)
        assert str(hub.settings.folder.users / other.user) not in json.dumps(environment)


def test_their_secrets_and_connection_files_are_apart(hub: RealHub, servers: tuple[Server, Server]) -> None:
    secrets = [(home / ".local/share/jupyter/runtime/jupyter_cookie_secret").read_bytes() for home in homes(hub)]
    assert len(set(secrets)) == 2
    for home in homes(hub):
        files = [*(home / ".local/share/jupyter/runtime").glob("kernel-*.json")]
        keys = {json.loads(file.read_text())["key"] for file in files}
        assert len(keys) == len(files) > 0


def homes(hub: RealHub) -> list[Path]:
    """Of ana and ben."""
    return [hub.settings.folder.users / name for name in PEOPLE]


def test_a_killed_fork_server_and_a_killed_hub_end_nothing(hub: RealHub, servers: tuple[Server, Server]) -> None:
    ana, ben = servers
    hub.kill("warm")
    hub.kill("hub")
    assert all(one.process.is_running() for one in servers)
    hub.start("hub")
    for one in servers:
        hub.ready(one.user)
        assert one.ask("/status").status_code == 200
    with hub.api() as api:
        assert api.delete("/users/ana/server").status_code in (202, 204)
    until(lambda: not ana.process.is_running(), "ana's server to end")
    assert ben.process.is_running()
    assert hub.forked() == 2


def test_without_the_fork_server_a_start_is_just_slower(hub: RealHub, servers: tuple[Server, Server]) -> None:
    with hub.api() as api:
        api.post("/users/ana/server").raise_for_status()
    hub.ready("ana", timeout=120)
    assert hub.forked() == 2
    assert not [one for one in hub.marked("server") if is_forked(one) and one.pid != servers[1].process.pid]

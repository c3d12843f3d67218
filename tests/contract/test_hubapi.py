"""The client of JupyterHub against a real JupyterHub, with no proxy and servers of a few lines."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from dure.errors import NotReady
from dure_hub.hubapi import HubApi, HubRefused, HubServer
from dure_hub.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef"
CONFIG = """
import sys
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import SimpleLocalProcessSpawner

class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {}

class Refusing(SimpleLocalProcessSpawner):
    async def start(self):
        if self.user_options.get("fail"):
            raise RuntimeError("there is no such program")
        return await super().start()

c = get_config()
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = Refusing
c.Spawner.cmd = [sys.executable, SERVER]
c.Spawner.http_timeout = c.Spawner.start_timeout = 60
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, "slow_stop_timeout": 30}
c.JupyterHub.services = [{"name": "dure", "api_token": TOKEN}, {"name": "maker", "api_token": TOKEN[::-1]}]
c.JupyterHub.load_roles = [
    {"name": "portal", "services": ["dure"],
     "scopes": ["start:servers", "delete:servers", "read:servers", "list:users", "read:users", "admin:groups"]},
    {"name": "maker", "services": ["maker"], "scopes": ["admin:users"]},
]
"""
SERVER = """
import http.server, os, urllib.parse
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
port = urllib.parse.urlparse(os.environ["JUPYTERHUB_SERVICE_URL"]).port
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(data=tmp_path_factory.mktemp("data"), hub_port=free_port())
    made.folder.create()
    (made.folder.secrets / "portal-token").write_text(TOKEN + "\n")
    return made


@pytest.fixture(scope="module", autouse=True)
def jupyterhub(settings: Settings) -> Iterator[None]:
    """A hub of its own, ended by its pid."""
    folder = settings.folder.root
    (folder / "server.py").write_text(SERVER)
    values = f"TOKEN, PORT, SERVER = {TOKEN!r}, {settings.hub_port}, {str(folder / 'server.py')!r}\n"
    (folder / "config.py").write_text(values + CONFIG)
    log = folder / "hub.log"
    environment = {**os.environ, "JUPYTERHUB_CRYPT_KEY": "", "PYTHONWARNINGS": ""}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", "config.py"],
            cwd=folder,
            stdout=out,
            stderr=out,
            env=environment,
        )
    try:
        until_up(settings, process, log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def until_up(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"http://127.0.0.1:{settings.hub_port}/hub/api/", timeout=1).status_code == 200:
                headers = {"Authorization": f"token {TOKEN[::-1]}"}
                for name in ("ann", "ben"):
                    url = f"http://127.0.0.1:{settings.hub_port}/hub/api/users/{name}"
                    httpx.post(url, headers=headers, timeout=10).raise_for_status()
                return
        except httpx.TransportError:
            pass
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"the hub did not come up ({process.poll()}): {log.read_text()[-2000:]}")


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[HubApi]:
    api = HubApi(settings)
    yield api
    await api.close()


@pytest.mark.parametrize("name", ["default", "lab"])
async def test_a_server_from_start_to_stop(hub: HubApi, name: str) -> None:
    await hub.start_server("ann", name, {"lease": "L"})
    events = [event async for event in hub.progress("ann", name)]
    assert events[-1]["ready"]
    seen = await hub.server("ann", name)
    assert seen is not None
    assert seen == HubServer("ann", name, True, None, seen.last_activity)
    assert seen.last_activity is not None, "the start itself counts"
    assert abs(datetime.now(UTC) - seen.last_activity) < timedelta(minutes=5)
    assert await hub.servers() == [seen]
    await hub.start_server("ann", name, {"lease": "L"})  # runs already: no error
    assert await hub.stop_server("ann", name)
    assert await hub.server("ann", name) is None
    assert await hub.stop_server("ann", name)  # stopped already: no error
    assert [event async for event in hub.progress("ann", name)] == []


async def test_a_start_that_fails_is_created_and_then_says_why(hub: HubApi) -> None:
    await hub.start_server("ben", "default", {"fail": True})
    events = [event async for event in hub.progress("ben", "default")]
    assert events[-1]["failed"]
    assert "ready" not in events[-1]
    assert await hub.server("ben", "default") is None


async def test_who_somebody_is(hub: HubApi) -> None:
    me = await hub.whoami(TOKEN)
    assert me is not None
    assert (me["kind"], me["name"]) == ("service", "dure")
    assert "read:servers" in me["scopes"]
    assert await hub.whoami("f" * 32) is None
    ann = await hub.user("ann")
    assert ann is not None
    assert ann["name"] == "ann"
    assert await hub.user("no/body") is None


async def test_what_the_hub_refuses_is_its_own_sentence(hub: HubApi) -> None:
    with pytest.raises(HubRefused) as caught:
        await hub.start_server("nobody", "default", {})
    assert caught.value.facts["answer"] in (403, 404)  # unknown, and not to be made with these rights


async def test_many_starts_at_once(hub: HubApi) -> None:
    names = [f"n{number}" for number in range(4)]
    await asyncio.gather(*(hub.start_server("ann", name, {}) for name in names))
    for name in names:
        async for event in hub.progress("ann", name):
            assert not event.get("failed"), event
    assert {server.name for server in await hub.servers() if server.ready} == set(names)
    await asyncio.gather(*(hub.stop_server("ann", name) for name in names))


async def test_a_hub_that_is_away_is_not_ready(settings: Settings) -> None:
    away = HubApi(settings.model_copy(update={"hub_port": free_port()}))
    with pytest.raises(NotReady):
        await away.servers()
    with pytest.raises(NotReady):
        _ = [event async for event in away.progress("ann", "default")]
    await away.close()


@pytest.mark.parametrize("group", ["vision", "a b", "x/y", "팀", "50%?#"])
async def test_a_group_is_made_filled_emptied_and_deleted_each_twice(hub: HubApi, group: str) -> None:
    before = await hub.groups()
    for _ in range(2):
        await hub.make_group(group)
    for _ in range(2):
        await hub.add_to_group(group, ["ann", "ben"])
    assert await hub.groups() == {**before, group: frozenset({"ann", "ben"})}
    for _ in range(2):
        await hub.take_from_group(group, "ben")
    await hub.take_from_group(group, "nobody-knows-them")
    assert (await hub.groups())[group] == {"ann"}
    for _ in range(2):
        await hub.delete_group(group)
    await hub.take_from_group(group, "ann")
    assert await hub.groups() == before
    with pytest.raises(HubRefused):
        await hub.add_to_group(group, ["ann"])


async def test_all_groups_are_read_however_many_there_are(hub: HubApi) -> None:
    names = {f"many-{number}" for number in range(201)}  # more than a page of the hub's holds
    for name in names:
        await hub.make_group(name)
    assert names <= set(await hub.groups())
    for name in names:
        await hub.delete_group(name)

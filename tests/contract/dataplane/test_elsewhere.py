"""Envoys that share no files with the portal: their questions ask for routes, and say what they have taken."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from dure_hub.dataplane import Cluster, Dataplane, Fragment, Route, RoutesRefused, alive, asking, write_bootstrap
from dure_hub.dataplane.admin import Admin
from dure_hub.dataplane.asking import ROUTES
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.taking import Elsewhere as Takers
from dure_hub.settings import Settings
from tests.contract.dataplane.conftest import make_remote_settings
from tests.contract.dataplane.world import (
    UP_S,
    Upstream,
    World,
    elsewhere,
    free_port,
    portal,
    remote_envoy,
    upstream,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """What routes lead to."""
    folder = tmp_path_factory.mktemp("upstream")
    with upstream("own", f"127.0.0.1:{free_port()}", folder / "log") as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a portal that does not answer yet, with no route."""
    made = make_remote_settings(tmp_path / "data")
    write_bootstrap(made)
    return made


def to(server: Upstream, *prefixes: str) -> Fragment:
    return Fragment((server.cluster(),), tuple(Route(prefix, ((server.name, 1),)) for prefix in prefixes))


async def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    await asyncio.to_thread(process.wait)


async def until_live(admin: Admin) -> None:
    async with asyncio.timeout(UP_S):
        while not await admin.live():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(UP_S):
        while not holds():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def until_present(settings: Settings, number: int) -> None:
    """So many Envoys have routes."""
    takers = Takers(settings)

    def all_there() -> bool:
        asked = takers.asked()
        found = [] if asked is None else list(asked.present(time.monotonic()).values())
        return len(found) == number and all(one.stand(ROUTES).version for one in found)

    await until(all_there)


@asynccontextmanager
async def websocket(world: World, path: str) -> AsyncIterator[WebSocketClientConnection]:
    connection = await websocket_connect(f"{world.url.replace('http', 'ws')}{path}")
    yield connection
    connection.close()
    assert await connection.read_message() is None, "it is closed"


async def said_back(connection: WebSocketClientConnection, message: str) -> bool:
    await connection.write_message(message)
    return bool(await connection.read_message() == message)


async def test_a_websocket_outlives_routes_that_change_and_a_portal_that_is_killed(
    settings: Settings, server: Upstream, tmp_path: Path
) -> None:
    plane = Dataplane(settings)
    with portal(settings) as first, remote_envoy(settings, elsewhere(settings, tmp_path / "e")) as world:
        await plane.publish("hub", to(server, "/user/ana/"))
        async with websocket(world, "/user/ana/ws") as held:
            await plane.publish("other", to(server, "/other/"))
            assert await said_back(held, "after a change")
            await kill(first)
            assert await said_back(held, "while the portal is away")
            assert (await world.ask("/other/x")).status_code == 200
            with portal(settings):
                await plane.publish("other", to(server, "/third/"))
                assert (await world.ask("/third/x")).status_code == 200
                assert (await world.ask("/other/x")).status_code == 404
                assert await said_back(held, "after the portal came back")


async def test_a_route_that_is_made_while_the_portal_is_away_waits_for_it(
    settings: Settings, server: Upstream, tmp_path: Path
) -> None:
    plane = Dataplane(settings)
    with remote_envoy(settings, elsewhere(settings, tmp_path / "e"), live=False) as world:
        with portal(settings) as first:
            await plane.publish("hub", to(server, "/"))
            await kill(first)
        takers = Takers(settings)
        await until(lambda: _silent(takers))
        made = asyncio.create_task(plane.publish("other", to(server, "/made/")))
        done, _ = await asyncio.wait({made}, timeout=1)
        assert not done, "nobody has it"
        with portal(settings):
            await made
            assert (await world.ask("/made/x")).json()["path"] == "/made/x"


def _silent(takers: Takers) -> bool:
    asked = takers.asked()
    return asked is not None and time.monotonic() - asked.beat > asking.PRESENT_S


async def test_an_envoy_that_is_up_before_the_portal_serves_nobody_until_it_has_routes(
    settings: Settings, server: Upstream, tmp_path: Path
) -> None:
    await Dataplane(settings).publish("hub", to(server, "/"))  # nobody is there: it is only written
    made = elsewhere(settings, tmp_path / "e", "localhost")
    with remote_envoy(settings, made, live=False) as world:
        assert not await world.admin.live()
        with pytest.raises(httpx.ConnectError):  # and no 404 for pages that are open
            await world.ask("/x")
        with portal(settings):
            await until_live(world.admin)
            assert (await world.ask("/x")).json()["name"] == "own"
            async with httpx.AsyncClient() as client:
                shown = f"http://127.0.0.1:{made.statistics[1]}"
                assert (await client.get(f"{shown}/ready")).text == "LIVE\n"
                assert (await client.get(f"{shown}/stats")).status_code == 404, "not without the token"
                token = {"x-dure-token": made.token}
                assert "cluster.check" in (await client.get(f"{shown}/stats", headers=token)).text
                for path in ("/quitquitquit", "/config_dump", "/healthcheck/fail"):
                    assert (await client.post(shown + path, headers=token)).status_code == 404


async def test_a_change_is_in_force_with_all_that_are_there(
    settings: Settings, server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Dataplane(settings)
    with (
        portal(settings),
        remote_envoy(settings, elsewhere(settings, tmp_path / "a")) as one,
        remote_envoy(settings, elsewhere(settings, tmp_path / "b")) as other,
    ):
        await until_present(settings, 2)
        for number in range(3):
            await plane.publish("hub", to(server, f"/at-{number}/"))
            answers = [(await world.ask(f"/at-{number}/x")).status_code for world in (one, other)]
            assert answers == [200, 200]
        assert await plane.counts(["own"]) == {"own": (6, 0)}, "of both together"
        monkeypatch.setattr(asking, "PRESENT_S", 2 * UP_S)  # here, where it is waited for
        other.process.send_signal(signal.SIGSTOP)
        try:
            changed = asyncio.create_task(plane.publish("hub", to(server, "/new/")))
            async with asyncio.timeout(UP_S):
                while (await one.ask("/new/x")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert not changed.done(), "the other one has not taken it"
        finally:
            other.process.send_signal(signal.SIGCONT)
        await changed
        assert (await other.ask("/new/x")).status_code == 200


async def test_who_has_gone_is_not_waited_for(settings: Settings, server: Upstream, tmp_path: Path) -> None:
    plane = Dataplane(settings)
    with portal(settings), remote_envoy(settings, elsewhere(settings, tmp_path / "a")) as one:
        with remote_envoy(settings, elsewhere(settings, tmp_path / "b")) as other:
            await until_present(settings, 2)
            await kill(other.process)
        await plane.publish("hub", to(server, "/new/"))
        assert (await one.ask("/new/x")).status_code == 200
        await kill(one.process)
        await plane.publish("hub", to(server, "/newer/"))
        assert not await alive(settings)
        assert await plane.counts(["own"]) == {"own": (None, None)}


async def test_what_is_written_again_drains_nothing(settings: Settings, server: Upstream, tmp_path: Path) -> None:
    """The same content has the same version, and that is in force already."""
    plane, files = Dataplane(settings), Files(settings.folder)
    with portal(settings), remote_envoy(settings, elsewhere(settings, tmp_path / "e")) as world:
        await plane.publish("hub", to(server, "/"))

        async def updates() -> dict[str, str]:
            return await world.admin.statistics(r"(cds|rds\.routes)\.update_(success|rejected)$")

        async def attempts() -> int:
            return sum(map(int, (await world.admin.statistics(r"(cds|rds\.routes)\.update_attempt$")).values()))

        before, asked = await updates(), await attempts()
        for path in (files.clusters, files.routes):
            files.write(path, path.read_text())
        await plane.publish("hub", to(server, "/"))
        async with asyncio.timeout(UP_S):
            while await attempts() < asked + 4:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await updates() == before


async def test_what_envoy_refuses_is_told_and_the_rest_goes_on(
    settings: Settings, server: Upstream, tmp_path: Path
) -> None:
    plane = Dataplane(settings)
    with portal(settings), remote_envoy(settings, elsewhere(settings, tmp_path / "e")) as world:
        await plane.publish("hub", to(server, "/"))
        wrong = Fragment((server.cluster(),), (Route("/wrong/", ((server.name, 1),), host="a\nb"),))
        with pytest.raises(RoutesRefused, match="HostRewriteLiteral"):
            await plane.publish("other", wrong)
        async with websocket(world, "/ws") as held:
            with pytest.raises(RoutesRefused, match="HostRewriteLiteral"):
                await plane.publish("other", wrong)  # it is offered and refused once more
            assert await said_back(held, "still")
        assert plane.read("other") == Fragment()
        await plane.publish("other", to(server, "/right/"))
        assert (await world.ask("/right/x")).status_code == 200


async def test_a_reason_that_is_told_with_the_question_is_the_one(settings: Settings, server: Upstream) -> None:
    """Envoy tells none by REST; the protocol knows it."""
    node = {"id": "told", "metadata": {"token": "a token of these tests"}}
    url = f"http://127.0.0.1:{settings.xds_port}/v3/discovery:clusters"
    with portal(settings):
        async with httpx.AsyncClient(trust_env=False, timeout=UP_S) as client:
            current = (await client.post(url, json={"node": node})).json()["version_info"]
            await client.post(url, json={"node": node, "version_info": current})
            changed = asyncio.create_task(Dataplane(settings).publish("hub", to(server, "/")))
            await until(lambda: current not in Files(settings.folder).clusters.read_text())
            sent = (await client.post(url, json={"node": node, "version_info": current})).json()
            told = {"code": 13, "message": "no such thing"}
            await client.post(url, json={"node": node, "version_info": current, "error_detail": told})
            assert sent["version_info"] != current
            with pytest.raises(RoutesRefused, match="no such thing"):
                await changed


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("clusters", b'{"node": {"id": "x", "metadata": {"token": "another"}}}', 403),
        ("routes", b'{"node": {"id": "x"}}', 403),
        ("clusters", b"{}", 403),
        ("clusters", b"no json", 400),
        ("clusters", b'{"node": 7}', 400),
        ("clusters", b" " * (2**20 + 1), 413),
        ("listeners", b"{}", 404),
        ("secrets", b"{}", 404),
    ],
)
async def test_who_does_not_show_the_token_gets_nothing(
    closed: Settings, path: str, body: bytes, status: int
) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{closed.xds_port}/v3/discovery:{path}", content=body)
    assert (answer.status_code, b"version_info" in answer.content) == (status, False)
    assert not await alive(closed), "nor is it waited for"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = make_remote_settings(tmp_path_factory.mktemp("closed"))
    write_bootstrap(made)
    with portal(made):
        yield made


async def test_what_is_not_new_is_a_304(settings: Settings) -> None:
    node = {"id": "one", "metadata": {"token": "a token of these tests"}}
    with portal(settings):
        async with httpx.AsyncClient(trust_env=False, timeout=UP_S) as client:
            url = f"http://127.0.0.1:{settings.xds_port}/v3/discovery:clusters"
            first = (await client.post(url, json={"node": node})).json()
            again = await client.post(url, json={"node": node, "version_info": first["version_info"]})
            mode = Files(settings.folder).asked.stat().st_mode
    assert [one["name"] for one in first["resources"]] == ["check"]
    assert (again.status_code, again.content, mode & 0o777) == (304, b"", 0o600)


async def test_a_cluster_may_be_a_name(settings: Settings, server: Upstream, tmp_path: Path) -> None:
    plane = Dataplane(settings)
    with portal(settings), remote_envoy(settings, elsewhere(settings, tmp_path / "e")) as world:
        named = Cluster("named", server.address.replace("127.0.0.1", "localhost"))
        await plane.publish("hub", Fragment((named,), (Route("/", (("named", 1),)),)))
        assert (await world.ask("/x")).status_code == 200

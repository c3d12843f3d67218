"""JupyterHub's proxy interface over a real Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dure.errors import BadRequest
from dure_hub.dataplane import Fragment, Route
from dure_hub.proxy import EnvoyProxy
from tests.contract.dataplane.conftest import make_settings
from tests.contract.dataplane.world import Upstream, World, envoy, free_port, upstream

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = make_settings(tmp_path_factory.mktemp("data"))
    settings.save()
    with envoy(settings) as running:
        yield running


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Upstream]:
    log: Path = world.settings.folder.log / "server.log"
    with upstream("server", f"127.0.0.1:{free_port()}", log) as made:
        yield made


@pytest.fixture
def proxy(world: World) -> EnvoyProxy:
    """As the hub makes it: from the data folder, with nothing of an earlier one."""
    return EnvoyProxy(data=str(world.settings.data))


async def test_a_storm_of_routes_is_routed_and_known_to_a_new_hub(
    world: World, server: Upstream, proxy: EnvoyProxy
) -> None:
    target = f"http://{server.address}"
    assert not proxy.should_start
    await asyncio.gather(
        *(proxy.add_route(f"/user/u{n}/", target, {"user": f"u{n}", "server_name": ""}) for n in range(60))
    )
    for number in (0, 30, 59):
        assert (await world.ask(f"/user/u{number}/lab")).json()["path"] == f"/user/u{number}/lab"
    known = await EnvoyProxy(data=proxy.data).get_all_routes()
    assert len(known) == 60
    assert known["/user/u7/"] == {
        "routespec": "/user/u7/",
        "target": target,
        "data": {"user": "u7", "server_name": ""},
    }
    assert await proxy.get_route("/user/u7") == known["/user/u7/"]
    await asyncio.gather(*(proxy.delete_route(routespec) for routespec in known))
    assert await proxy.get_all_routes() == {}
    assert (await world.ask("/user/u7/lab")).status_code == 404


async def test_the_hub_sees_only_its_own_routes_and_the_portals_win(
    world: World, server: Upstream, proxy: EnvoyProxy
) -> None:
    services = Fragment((server.cluster(),), (Route("/services/dure/", ((server.name, 1),), rewrite="/there/"),))
    await world.plane().publish("services", services)
    await proxy.add_route("/services/dure/", f"http://{server.address}", {"service": "dure"})
    await proxy.add_route("/", f"http://{server.address}", {"hub": True})
    assert (await world.ask("/services/dure/x")).json()["path"] == "/there/x"
    assert set(await proxy.get_all_routes()) == {"/", "/services/dure/"}
    await proxy.delete_route("/services/dure/")
    await proxy.delete_route("/services/dure/")
    assert (await world.ask("/services/dure/x")).json()["path"] == "/there/x"


async def test_a_moved_server_is_routed_anew(world: World, server: Upstream, proxy: EnvoyProxy) -> None:
    await proxy.add_route("/user/ann/", f"http://127.0.0.1:{free_port()}", {})
    await proxy.add_route("/user/ann/", f"http://{server.address}", {})
    assert (await world.ask("/user/ann/")).status_code == 200


async def test_a_wrong_route_fails_alone(world: World, server: Upstream, proxy: EnvoyProxy) -> None:
    target = f"http://{server.address}"
    results = await asyncio.gather(
        proxy.add_route("/user/first/", target, {}),
        proxy.add_route("/user/b?d/", target, {}),
        proxy.add_route("/user/second/", target, {}),
        proxy.add_route("/user/tls/", "https://127.0.0.1:1", {}),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), BadRequest, type(None), BadRequest]
    assert (await world.ask("/user/second/")).status_code == 200


async def test_a_persons_host_has_their_server_and_leads_to_the_shared_host_else(
    world: World, server: Upstream
) -> None:
    elsewhere = Route("/", (), domain="*.dure.test", redirect="http://dure.test:8000")
    portal = Route("/services/dure/", ((server.name, 1),))
    await world.plane().publish("hub", Fragment())  # a default route of an earlier test would answer everything
    await world.plane().publish("services", Fragment((server.cluster(),), (portal, elsewhere)))
    proxy = EnvoyProxy(data=str(world.settings.data), host_routing=True, shared_host="dure.test")
    await proxy.add_route("a.dure.test/user/ana/", f"http://{server.address}", {"user": "ana"})
    try:
        for host in ("a.dure.test", "a.dure.test:8000", "A.DURE.test"):
            assert (await world.ask("/user/ana/lab", host=host)).json()["path"] == "/user/ana/lab"
            answer = await world.ask("/services/dure/x?y=1", host=host)
            assert answer.status_code == 307
            assert answer.headers["location"] == "http://dure.test:8000/services/dure/x?y=1"
        assert (await world.ask("/user/ana/lab", host="b.dure.test")).status_code == 307
        assert (await world.ask("/user/ana/lab", host="dure.test")).status_code == 404
        assert (await world.ask("/services/dure/x", host="dure.test:8000")).status_code == 200
        assert list(await proxy.get_all_routes()) == ["a.dure.test/user/ana/"]
    finally:
        await proxy.delete_route("a.dure.test/user/ana/")
        await world.plane().publish("services", Fragment())

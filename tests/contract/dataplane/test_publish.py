"""What is refused changes nothing, writers do not lose each other's routes, and a restart finds the files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from dure.errors import BadRequest
from dure_hub.dataplane import Cluster, Dataplane, Fragment, Route, RoutesRefused, alive
from dure_hub.dataplane.files import Files
from tests.contract.dataplane.conftest import make_settings
from tests.contract.dataplane.world import Upstream, World, envoy

pytestmark = pytest.mark.timeout(60)


def one(upstream: Upstream, prefix: str, host: str | None = None) -> Fragment:
    return Fragment((upstream.cluster(),), (Route(prefix, ((upstream.name, 1),), host=host),))


async def test_what_envoy_refuses_raises_its_reason_and_changes_nothing(world: World, ana: Upstream) -> None:
    plane = world.plane()
    await plane.publish("other", one(ana, "/other/"))
    with pytest.raises(RoutesRefused, match="HostRewriteLiteral"):
        await plane.publish("other", one(ana, "/new/", host="a\nb"))
    assert plane.read("other") == one(ana, "/other/")
    assert (await world.ask("/other/")).status_code == 200
    await plane.publish("other", one(ana, "/third/"))
    assert (await world.ask("/third/")).status_code == 200
    await plane.publish("other", Fragment())


async def test_a_request_that_is_being_checked_still_finds_its_cluster(
    world: World, ana: Upstream, ben: Upstream
) -> None:
    def to(upstream: Upstream) -> Fragment:
        return Fragment((upstream.cluster(),), (Route("/checked/", ((upstream.name, 1),), auth=True),))

    async def asking() -> bool:
        seen = await world.admin.statistics("^cluster.check.upstream_rq_active$")
        return "1" in seen.values()

    plane = world.plane()
    await plane.publish("other", to(ana))
    before = asyncio.create_task(world.ask("/checked/x", authorization="Bearer slow"))
    async with asyncio.timeout(20):
        while not await asking():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await plane.publish("other", to(ben))
    after = await world.ask("/checked/x", authorization="Bearer good")
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{world.settings.portal_port}/next")
    assert (after.json()["name"], (await before).status_code, (await before).json()["name"]) == ("ben", 200, "ana")
    await plane.publish("other", Fragment())


async def test_a_cluster_that_went_is_gone_after_a_while(
    world: World, ana: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, files = world.plane(), Files(world.settings.folder)
    await plane.publish("brief", one(ana, "/brief/"))
    await plane.publish("brief", Fragment())
    assert "brief/ana" in files.present_clusters()
    monkeypatch.setattr("dure_hub.dataplane.plane.LINGER_S", 0)
    await plane.publish("brief", Fragment())
    assert "brief/ana" not in files.present_clusters()
    assert "brief/ana" not in files.left()


async def test_what_cannot_be_routed_is_refused_before_it_is_written(world: World, ana: Upstream) -> None:
    with pytest.raises(BadRequest, match="a cluster of the fragment"):
        await world.plane().publish("other", Fragment((ana.cluster(),), (Route("/x/", (("nobody", 1),)),)))


async def test_many_writers_lose_nothing(world: World, ana: Upstream) -> None:
    """Each has a lock handle of its own, as processes have."""

    def add(number: int) -> asyncio.Task[None]:
        def edit(fragment: Fragment) -> Fragment:
            return Fragment((ana.cluster(),), (*fragment.routes, Route(f"/many/{number}/", ((ana.name, 1),))))

        return asyncio.create_task(Dataplane(world.settings).change("other", edit))

    await asyncio.gather(*(add(number) for number in range(12)))
    answers = [await world.ask(f"/many/{number}/") for number in range(12)]
    assert [answer.json()["name"] for answer in answers] == ["ana"] * 12
    await world.plane().publish("other", Fragment())


async def test_services_win_over_endpoints_and_those_over_the_hub(
    world: World, ana: Upstream, ben: Upstream
) -> None:
    plane = world.plane()
    for name, upstream in (("hub", ana), ("endpoints", ben)):
        await plane.publish(name, one(upstream, "/same/"))
    assert (await world.ask("/same/")).json()["name"] == "ben"
    await plane.publish("services", one(ana, "/same/"))
    assert (await world.ask("/same/")).json()["name"] == "ana"
    for name in ("hub", "endpoints", "services"):
        await plane.publish(name, Fragment())


async def test_routes_outlive_envoy_and_may_change_while_it_is_away(
    tmp_path: Path, ana: Upstream, ben: Upstream
) -> None:
    settings = make_settings(tmp_path)
    plane = Dataplane(settings)
    await plane.publish("hub", one(ana, "/"))
    assert not await alive(settings)
    assert await plane.counts(["ana"]) == {"ana": (None, None)}
    with envoy(settings) as first:
        assert (await first.ask("/x")).json()["name"] == "ana"
        await plane.publish("other", one(ben, "/ben/"))
        first.process.kill()
        await asyncio.to_thread(first.process.wait)
        await plane.publish("more", one(ben, "/more/"))
        with envoy(settings) as second:
            names = [(await second.ask(path)).json()["name"] for path in ("/x", "/ben/", "/more/")]
    assert names == ["ana", "ben", "ben"]


async def test_an_envoy_without_any_route_starts_and_takes_the_first(tmp_path: Path, ana: Upstream) -> None:
    settings = make_settings(tmp_path)
    with envoy(settings) as world:
        assert (await world.ask("/")).status_code == 404
        await world.plane().publish("hub", one(ana, "/user/ann/"))
        assert (await world.ask("/user/ann/")).status_code == 200
        assert (await world.ask("/")).status_code == 404


async def test_a_host_name_is_resolved(world: World, ana: Upstream) -> None:
    named = Cluster("named", ana.address.replace("127.0.0.1", "localhost"))
    await world.plane().publish("other", Fragment((named,), (Route("/named/", (("named", 1),)),)))
    assert (await world.ask("/named/")).status_code == 200
    await world.plane().publish("other", Fragment())

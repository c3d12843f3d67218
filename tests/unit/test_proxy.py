"""Changes that come together are made together, each with its own result."""

from __future__ import annotations

import asyncio

import pytest

from dure.errors import BadRequest
from dure_hub.dataplane import Cluster, Fragment, Route
from dure_hub.proxy import Changes, Edit, EnvoyProxy, hosts, make_route, with_route, without_route


class Table:
    """Holds a fragment, counts its publications, and refuses prefixes that say so."""

    def __init__(self) -> None:
        self.fragment = Fragment()
        self.steps = 0

    async def publish(self, edit: Edit) -> None:
        made = edit(self.fragment)
        await asyncio.sleep(0)
        if any("bad" in route.prefix for route in made.routes):
            raise BadRequest(field="prefix", value="bad", rule="it is good")
        self.fragment = made
        self.steps += 1


def add(prefix: str) -> Edit:
    return lambda fragment: with_route(fragment, make_route(prefix, "http://127.0.0.1:80", {}))


async def test_sixty_changes_are_two_steps() -> None:
    table = Table()
    changes = Changes(table.publish)
    first = asyncio.create_task(changes.make(add("/first/")))
    await asyncio.sleep(0)
    await asyncio.gather(first, *(changes.make(add(f"/{n}/")) for n in range(59)))
    assert len(table.fragment.routes) == 60
    assert table.steps == 2


async def test_a_wrong_change_fails_alone() -> None:
    table = Table()
    changes = Changes(table.publish)
    results = await asyncio.gather(
        *(changes.make(add(f"/{name}/")) for name in ("a", "bad", "b")), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), BadRequest, type(None)]
    assert [route.prefix for route in table.fragment.routes] == ["/a/", "/b/"]


async def test_changes_are_made_in_the_order_they_came() -> None:
    table = Table()
    changes = Changes(table.publish)
    await asyncio.gather(
        changes.make(add("/a/")),
        changes.make(lambda fragment: without_route(fragment, "/a/")),
        changes.make(add("/b/")),
    )
    assert [route.prefix for route in table.fragment.routes] == ["/b/"]


async def test_one_who_stops_waiting_does_not_disturb_the_others() -> None:
    table = Table()
    changes = Changes(table.publish)
    tasks = [asyncio.create_task(changes.make(add(f"/{name}/"))) for name in ("a", "b")]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await tasks[1]
    assert len(table.fragment.routes) == 2


def test_an_address_is_one_cluster_however_many_routes_lead_there() -> None:
    fragment = Fragment()
    for prefix, port in (("/a/", 1), ("/b/", 1), ("/c/", 2)):
        fragment = with_route(fragment, make_route(prefix, f"http://127.0.0.1:{port}", {"user": prefix}))
    assert fragment.clusters == (Cluster("127.0.0.1:1", "127.0.0.1:1"), Cluster("127.0.0.1:2", "127.0.0.1:2"))
    data = {"target": "http://127.0.0.1:2", "data": {"user": "/c/"}}
    assert fragment.routes[2] == Route("/c/", (("127.0.0.1:2", 1),), data=data)
    assert without_route(without_route(fragment, "/a/"), "/b/").clusters == fragment.clusters[1:]


@pytest.mark.parametrize("target", ["https://127.0.0.1:1", "unix:/a", "http://127.0.0.1:1/path"])
def test_a_target_that_is_not_plain_http_is_refused(target: str) -> None:
    with pytest.raises(BadRequest, match="http://host:port"):
        make_route("/a/", target, {})


def test_a_route_of_a_persons_host_is_of_that_host_alone() -> None:
    route = make_route("user-ana-lab-1.dure.test/user/ana/", "http://127.0.0.1:1", {"user": "ana"}, "dure.test")
    assert (route.domain, route.prefix) == ("user-ana-lab-1.dure.test", "/user/ana/")
    # Two people's hosts may have the same path.
    other = make_route("user-ben-lab-1.dure.test/user/ana/", "http://127.0.0.1:2", {}, "dure.test")
    assert len(with_route(with_route(Fragment(), route), other).routes) == 2


def test_what_the_hub_has_at_the_shared_host_is_everywhere_and_given_back_as_it_was() -> None:
    spec = "dure.test/services/dure/"
    route = make_route(spec, "http://127.0.0.1:1", {"service": "dure"}, "dure.test")
    assert (route.domain, route.prefix) == ("", "/services/dure/")
    fragment = with_route(Fragment(), route)
    assert without_route(fragment, "/services/dure/") == fragment
    assert without_route(fragment, spec) == Fragment()


class Shelf:
    """A data plane that only keeps."""

    def __init__(self) -> None:
        self.fragment = Fragment()

    def read(self, name: str) -> Fragment:
        return self.fragment

    async def change(self, name: str, edit: Edit) -> None:
        self.fragment = edit(self.fragment)


@pytest.mark.parametrize("by_host", [True, False])
async def test_the_hub_finds_what_it_added_and_removes_what_is_of_other_times(by_host: bool) -> None:
    shelf, spec = Shelf(), f"{'user-ana-lab-1.dure.test' if by_host else ''}/user/ana/"
    proxy = EnvoyProxy(host_routing=by_host, shared_host="dure.test" if by_host else "")
    proxy._changes = Changes(lambda edit: shelf.change("hub", edit))
    await proxy.add_route(spec, "http://127.0.0.1:1", {"user": "ana"})
    old = "/user/ben/" if by_host else "user-ben-lab-1.dure.test/user/ben/"
    shelf.fragment = with_route(shelf.fragment, make_route(old, "http://127.0.0.1:2", {}))
    with pytest.raises(ValueError, match="host"):
        await proxy.add_route(old, "http://127.0.0.1:2", {})
    await proxy.delete_route(old)
    assert [route.domain + route.prefix for route in shelf.fragment.routes] == [spec]


def test_the_portal_is_at_the_host_that_all_share() -> None:
    assert hosts("ana", "dure.test", "user") == "user-ana-lab-1.dure.test"
    assert hosts("dure", "dure.test", "service") == "dure.test"


class Saving:
    """A spawner whose server takes a moment to save."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    async def save_before_stop(self) -> None:
        await asyncio.sleep(0)
        self.done.append("saved")


class Visitor:
    """As much of a hub's user as a proxy looks at."""

    name, proxy_spec = "ana", "/user/ana/"

    def __init__(self, **spawners: object) -> None:
        self.spawners = spawners


async def test_a_server_keeps_its_route_until_it_has_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def delete_route(_proxy: EnvoyProxy, spec: str) -> None:
        done.append(spec)

    monkeypatch.setattr(EnvoyProxy, "delete_route", delete_route)
    proxy = EnvoyProxy()
    await proxy.delete_user(Visitor(work=Saving(done), other=object()), "work")
    assert done == ["saved", "/user/ana/work/"]
    await proxy.delete_user(Visitor(work=Saving(done), other=object()), "other")
    await proxy.delete_user(Visitor(), "gone")
    assert done[2:] == ["/user/ana/other/", "/user/ana/gone/"]

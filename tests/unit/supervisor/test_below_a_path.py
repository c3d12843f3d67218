"""What the front port leads to where all of the portal is below a path."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from dure_hub.dataplane import Route
from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings
from dure_hub.supervisor import mlflow_server, services, voila_server


def test_every_route_is_below_the_path_and_the_portal_hears_nothing_of_it(tmp_path: Path) -> None:
    bare = services.routes(Settings(data=tmp_path)).routes
    below = services.routes(Settings(data=tmp_path, base_url="/dure/")).routes
    assert [route.prefix for route in below] == [f"/dure{route.prefix}" for route in bare]
    table = {route.prefix: route for route in below}
    assert table["/dure/services/dure/"].rewrite == "/services/dure/"
    assert table["/dure/api/v1/"].rewrite == "/services/dure/api/v1/"
    assert [route.rewrite for route in bare if route.prefix != "/api/v1/"] == [None] * 4
    for kept in ("/dure/", "/dure/services/mlflow/", "/dure/services/dashboards/"):
        assert table[kept].rewrite is None, "who serves it knows where it is"


@pytest.mark.parametrize(
    ("base", "prefix", "stale"),
    [
        ("/", "/user/ana/", False),
        ("/", "/dure/user/ana/", False),  # the hub removes what it does not know
        ("/dure/", "/dure/user/ana/", False),
        ("/dure/", "/dure/", False),
        ("/dure/", "/user/ana/", True),
        ("/dure/", "/durex/user/ana/", True),
        ("/dure/", "/", True),
    ],
)
def test_routes_of_another_path_are_known(tmp_path: Path, base: str, prefix: str, stale: bool) -> None:
    settings = Settings(data=tmp_path, base_url=base)
    assert services.of_other_places(settings, Route(prefix, ())) is stale


def test_mlflow_and_voila_are_told_where_they_are(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, base_url="/dure/")
    assert mlflow_server.environment(settings)["_MLFLOW_STATIC_PREFIX"] == "/dure/services/mlflow"
    assert voila_server.configuration(settings)["Voila"]["base_url"] == "/dure/services/dashboards/"


async def test_the_hub_is_asked_where_it_is(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(403)

    hub = HubApi(Settings(data=tmp_path, base_url="/dure/", hub_port=1), httpx.MockTransport(answer))
    assert await hub.whoami("token") is None
    await hub.close()
    assert asked == ["/dure/hub/api/user"]

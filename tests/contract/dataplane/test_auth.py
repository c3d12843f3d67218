"""The portal is asked on routes that want it, and on no others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dure_hub.dataplane import Fragment, Route, write_bootstrap
from dure_hub.dataplane.admin import Admin
from dure_hub.dataplane.files import Files
from tests.contract.dataplane.conftest import make_remote_settings, make_settings
from tests.contract.dataplane.world import Upstream, World, elsewhere, envoy, local, portal, remote_envoy, upstream

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def guarded(world: World, ana: Upstream) -> World:
    to_ana = ((ana.name, 1),)
    fragment = Fragment(
        (ana.cluster(),),
        (
            Route("/guarded/", to_ana, auth=True, strip=("cookie", "authorization"), rewrite="/"),
            Route("/open/", to_ana),
        ),
    )
    await world.plane().publish("services", fragment)
    return world


async def test_who_it_is_comes_from_the_portal_and_from_nobody_else(guarded: World) -> None:
    answer = await guarded.ask(
        "/guarded/x", authorization="Bearer good", x_dure_user="root", x_dure_admin="1", cookie="a=b"
    )
    sent = answer.json()
    told = {name: value for name, value in sent["headers"].items() if name.startswith("x-dure-")}
    assert sent["path"] == "/x"
    assert told == {"x-dure-user": "ann", "x-dure-admin": "0", "x-dure-viewer-token": "none"}
    assert not {"cookie", "authorization"} & sent["headers"].keys()


async def test_no_second_spelling_of_who_it_is_goes_on(guarded: World) -> None:
    spelled = {"x_dure_user": "root", "X_Dure_Admin": "1", "x_real_ip": "6.6.6.6", "authorization": "Bearer good"}
    for path in ("/guarded/x", "/open/x"):
        async with guarded.client(headers=spelled) as client:
            sent = (await client.get(path)).json()["headers"]
        assert [name for name in sent if "_" in name] == []


@pytest.mark.parametrize("headers", [{"x_real_ip": "6.6.6.6"}, {"x_forwarded_for": "6.6.6.6"}])
async def test_where_a_request_comes_from_is_not_for_the_client_to_say(
    guarded: World, headers: dict[str, str]
) -> None:
    plain = (await guarded.ask("/open/x")).json()["headers"]["x-forwarded-for"]
    sent = (await guarded.ask("/open/x", **headers)).json()["headers"]
    assert "x-real-ip" not in sent
    assert sent["x-forwarded-for"].rpartition(",")[2] == plain  # the last, by which the hub goes


async def test_behind_a_proxy_it_comes_from_where_the_proxy_says(tmp_path: Path, ana: Upstream) -> None:
    settings = make_settings(tmp_path).model_copy(update={"public_url": "https://gpu.example"})
    with envoy(settings) as world:
        fragment = Fragment((ana.cluster(),), (Route("/open/", ((ana.name, 1),)),))
        await world.plane().publish("services", fragment)
        answer = await world.ask("/open/x", x_forwarded_for="6.6.6.6, 10.0.0.9", x_real_ip="7.7.7.7")
        assert answer.json()["headers"]["x-real-ip"] == "10.0.0.9"


async def test_inside_nobody_is_believed_who_says_who_they_are_for(tmp_path: Path, ana: Upstream) -> None:
    settings = make_remote_settings(tmp_path / "data")
    write_bootstrap(settings)
    made = elsewhere(settings, tmp_path / "envoy", inside=local(), behind_proxy=True)
    with portal(settings), remote_envoy(settings, made) as world:
        fragment = Fragment((ana.cluster(),), (Route("/open/", ((ana.name, 1),)),))
        await world.plane().publish("services", fragment)
        told = {"x_forwarded_for": "6.6.6.6", "x_forwarded_proto": "https", "x_real_ip": "7.7.7.7"}
        front = (await world.ask("/open/x", **told)).json()["headers"]
        assert (front["x-real-ip"], front["x-forwarded-proto"]) == ("6.6.6.6", "https")
        world.url = f"http://127.0.0.1:{made.inside[1]}"
        plain = (await world.ask("/open/x")).json()["headers"]["x-forwarded-for"]
        inside = (await world.ask("/open/x", **told)).json()["headers"]
        assert (inside.get("x-real-ip"), inside["x-forwarded-proto"]) == (None, "http")
        assert inside["x-forwarded-for"].rpartition(",")[2] == plain  # the last, by which the hub goes


async def test_a_cookie_is_enough(guarded: World) -> None:
    assert (await guarded.ask("/guarded/x", cookie="login=good")).status_code == 200


async def test_a_program_without_login_gets_the_portals_refusal(guarded: World) -> None:
    answer = await guarded.ask("/guarded/x", authorization="Bearer bad")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json() == {"error": {"code": "not_logged_in"}}
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_check_knows_the_readers_language(guarded: World) -> None:
    answer = await guarded.ask("/guarded/x", authorization="Bearer good", accept_language="ko")
    assert answer.json()["headers"]["x-dure-viewer-token"] == "ko"


async def test_a_browser_without_login_is_led_to_it(guarded: World) -> None:
    answer = await guarded.ask("/guarded/x", accept="text/html")
    assert answer.status_code == 302
    assert answer.headers["location"] == "/services/dure/login"
    assert answer.headers["set-cookie"].startswith("state=1")


async def test_an_open_route_asks_nobody(guarded: World) -> None:
    answer = await guarded.ask("/open/x", x_dure_user="root")
    assert answer.status_code == 200
    assert "x-dure-user" not in answer.json()["headers"]


async def test_a_portal_that_restarts_costs_a_moment_and_no_error(tmp_path: Path, ana: Upstream) -> None:
    settings = make_settings(tmp_path)
    with envoy(settings) as world:
        guarded = Fragment((ana.cluster(),), (Route("/guarded/", ((ana.name, 1),), auth=True),))
        await world.plane().publish("services", guarded)
        asked = asyncio.create_task(world.ask("/guarded/x", authorization="Bearer good"))
        admin = Admin(Files(settings.folder).socket)
        async with asyncio.timeout(20):  # it was asked, and nobody was there
            while not any(map(int, (await admin.statistics("check.upstream_cx_connect_fail$")).values())):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with upstream("portal", f"127.0.0.1:{settings.portal_port}", settings.folder.log / "portal.log"):
            assert (await asked).status_code == 200


@pytest.mark.parametrize(
    "path", ["/open/../guarded/x", "/open/..%2fguarded/x", "//guarded/x", "/open/%2e%2e/guarded/x"]
)
async def test_no_spelling_of_a_path_goes_round_the_check(guarded: World, path: str) -> None:
    assert (await guarded.ask(path)).status_code == 401

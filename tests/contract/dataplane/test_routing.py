"""Paths reach the right upstream, and arrive as they were sent."""

from __future__ import annotations

import asyncio
import json

import pytest
from tornado.websocket import websocket_connect

from dure_hub.dataplane import Cluster, Fragment, Route
from tests.contract.dataplane.world import Upstream, World, free_port

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def routes(world: World, ana: Upstream, ben: Upstream) -> World:
    """Two people's servers, one with a named server of its own, and a default."""
    to_ana, to_ben = ((ana.name, 1),), ((ben.name, 1),)
    fragment = Fragment(
        (ana.cluster(), ben.cluster()),
        (
            Route("/", to_ana),
            Route("/user/ann/", to_ben),
            Route("/user/ann/gpu/", to_ana),
            Route("/user/%EC%95%88/", to_ben),
            Route("/cut/", to_ben, rewrite="/kept/", strip=("cookie", "authorization"), host="localhost"),
        ),
    )
    await world.plane().publish("services", fragment)
    return world


@pytest.mark.parametrize(
    ("path", "name", "arrives"),
    [
        ("/", "ana", "/"),
        ("/hub/login?next=%2Fuser%2Fann%2F", "ana", "/hub/login?next=%2Fuser%2Fann%2F"),
        ("/user/ann/lab", "ben", "/user/ann/lab"),
        ("/user/ann/?token=1/../2", "ben", "/user/ann/?token=1/../2"),
        ("/user/anna/lab", "ana", "/user/anna/lab"),
        ("/user/annagpu/", "ana", "/user/annagpu/"),
        ("/user/ann/gpu/lab", "ana", "/user/ann/gpu/lab"),
        ("/user/ann/gpus/lab", "ben", "/user/ann/gpus/lab"),
        ("/user/%EC%95%88/lab", "ben", "/user/%EC%95%88/lab"),
        ("/cut/a/b?c=d", "ben", "/kept/a/b?c=d"),
    ],
)
async def test_the_longest_prefix_that_ends_at_a_slash_wins(
    routes: World, path: str, name: str, arrives: str
) -> None:
    answer = (await routes.ask(path)).json()
    assert (answer["name"], answer["path"]) == (name, arrives)


@pytest.mark.parametrize(
    "name",
    [
        "%ED%95%9C%EA%B8%80%20%EB%85%B8%ED%8A%B8.ipynb",
        "100%25.ipynb",
        "a%23b%3Fc.ipynb",
        "a+b@c%40d.ipynb",
        "%252F",
    ],
)
async def test_jupyters_encoded_file_names_arrive_unchanged(routes: World, name: str) -> None:
    path = f"/user/ann/api/contents/{name}?content=1"
    assert (await routes.ask(path)).json()["path"] == path


@pytest.mark.parametrize(
    ("path", "name", "arrives"),
    [
        ("/user/ann/../anna/x", "ana", "/user/anna/x"),
        ("/user/ann/%2e%2e/anna/x", "ana", "/user/anna/x"),
        ("/user/ann/..%2fanna/x", "ana", "/user/anna/x"),
        ("/user/ann/..%5canna/x", "ana", "/user/anna/x"),
        ("/user//ann/x", "ben", "/user/ann/x"),
        ("/hub/..%2Fuser/ann/x", "ben", "/user/ann/x"),
        ("/user/ann/a%2Fb.ipynb", "ben", "/user/ann/a/b.ipynb"),
    ],
)
async def test_a_path_is_routed_by_what_it_means(routes: World, path: str, name: str, arrives: str) -> None:
    answer = (await routes.ask(path)).json()
    assert (answer["name"], answer["path"]) == (name, arrives)


@pytest.mark.parametrize(
    ("path", "location"),
    [("/user/ann", "/user/ann/"), ("/user/ann?a=b", "/user/ann/?a=b"), ("/user/ann/gpu", "/user/ann/gpu/")],
)
async def test_a_missing_last_slash_is_added(routes: World, path: str, location: str) -> None:
    answer = await routes.ask(path)
    assert (answer.status_code, answer.headers["location"]) == (307, routes.url + location)


async def test_headers_are_stripped_replaced_and_told(routes: World) -> None:
    answer = await routes.ask("/cut/", cookie="a=b", authorization="Bearer x", x_dure_user="root", x_dure_csrf="1")
    headers = answer.json()["headers"]
    assert headers["host"] == "localhost"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-for"]
    assert headers["x-dure-csrf"] == "1"
    assert not {"cookie", "authorization", "x-dure-user", "x-envoy-internal"} & headers.keys()


@pytest.mark.parametrize("path", ["/", "/user/ann/lab", "/user/ann/fail", "/user/ann/gpu/sw.js", "/cut/a", "/in/"])
async def test_no_page_claims_the_whole_origin_for_its_scripts(routes: World, ana: Upstream, path: str) -> None:
    held = Fragment((ana.cluster(),), (Route("/in/", ((ana.name, 1),), auth=True),))
    await routes.plane().publish("other", held)
    answer = await routes.ask(path, authorization="Bearer good")
    assert answer.headers["x-kept"] == "1", "it is the upstream's own"
    assert "service-worker-allowed" not in answer.headers
    await routes.plane().publish("other", Fragment())


async def test_a_websocket_stays_open_while_routes_change(routes: World, ben: Upstream) -> None:
    url = f"{routes.url.replace('http', 'ws')}/user/ann/ws"
    async with asyncio.timeout(30):
        connection = await websocket_connect(url)
        for number in range(5):
            other = Fragment((ben.cluster(),), (Route(f"/other-{number}/", ((ben.name, 1),)),))
            await routes.plane().publish("other", other)
            await connection.write_message(f"hello {number}")
            assert await connection.read_message() == f"hello {number}"
        connection.close()
    await routes.plane().publish("other", Fragment())


async def test_events_arrive_one_by_one(routes: World) -> None:
    """Each event is let go only after the one before it has arrived, so nothing on the way can hold it."""
    async with asyncio.timeout(30), routes.client() as client, client.stream("GET", "/user/ann/events") as stream:
        lines = stream.aiter_lines()
        for number in range(3):
            await routes.ask("/user/ann/next")
            assert await anext(lines) == f"data: {number}"
            assert await anext(lines) == ""


async def test_a_large_upload_passes(routes: World) -> None:
    async with routes.client() as client:
        answer = await client.put("/user/ann/api/contents/big", content=b"x" * (20 * 2**20))
    assert answer.json()["length"] == 20 * 2**20


async def test_a_part_that_is_away_says_so_in_both_languages(routes: World) -> None:
    away = Fragment((Cluster("away", f"127.0.0.1:{free_port()}"),), (Route("/away/", (("away", 1),)),))
    await routes.plane().publish("other", away)
    page, korean, english = await asyncio.gather(
        routes.ask("/away/", accept="text/html,*/*"),
        routes.ask("/away/", accept_language="ko-KR,ko"),
        routes.ask("/away/"),
    )
    assert [answer.status_code for answer in (page, korean, english)] == [503, 503, 503]
    assert page.headers["content-type"].startswith("text/html")
    assert "does not answer" in page.text
    assert "응답하지 않습니다" in page.text
    assert "응답하지 않습니다" in json.loads(korean.text)["error"]["message"]
    assert english.json()["error"]["code"] == "not_ready"
    await routes.plane().publish("other", Fragment())


async def test_an_upstreams_own_error_is_left_alone(routes: World) -> None:
    assert (await routes.ask("/user/ann/fail")).json()["name"] == "ben"

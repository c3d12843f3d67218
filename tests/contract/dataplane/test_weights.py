"""Weights are kept, and neither changing them nor a crash loses a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dure_hub.dataplane import Fragment, Route
from dure_hub.dataplane.counting import Latency
from tests.contract.dataplane.world import Load, Upstream, World, free_port, upstream

pytestmark = pytest.mark.timeout(120)

CLIENTS = 8


@asynccontextmanager
async def load(world: World, path: str, method: str = "GET") -> AsyncIterator[Load]:
    """Requests on some connections at once for as long as the block runs."""
    made = Load()
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(made.run(world, path, method))
        try:
            yield made
        finally:
            made.stopped = True


def split(champion: Upstream, canary: Upstream, percent: int) -> Fragment:
    """An endpoint with a canary that falls back to its champion."""
    targets = ((champion.name, 100 - percent), (canary.name, percent))
    clusters = (champion.cluster(), canary.cluster(fallback=champion.name))
    return Fragment(clusters, (Route("/serve/iris/", targets, rewrite="/"),))


async def test_ten_percent_is_ten_percent(world: World, ana: Upstream, ben: Upstream) -> None:
    await world.plane().publish("endpoints", split(ana, ben, 10))
    async with load(world, "/serve/iris/") as made:
        await made.reach(1000)
    share = made.answers["ben"] / made.total
    assert not made.failures
    assert 0.06 < share < 0.14  # four standard deviations


async def test_weight_changes_and_promotion_lose_nothing(world: World, ana: Upstream, ben: Upstream) -> None:
    plane = world.plane()
    await plane.publish("endpoints", split(ana, ben, 0))
    async with load(world, "/serve/iris/", "POST") as made:
        for number in range(20 if world.settings.xds_port else 100):  # each takes a third of a second there
            await plane.publish("endpoints", split(ana, ben, (0, 5, 50, 100)[number % 4]))
        promoted = Fragment((ben.cluster(),), (Route("/serve/iris/", ((ben.name, 1),), rewrite="/"),))
        await plane.publish("endpoints", promoted)
        before = made.answers["ana"]
        await made.reach(made.total + 200)
    assert not made.failures
    assert made.answers["ana"] - before <= CLIENTS  # those that were under way
    assert made.answers["ben"] > 0


async def test_a_killed_canary_loses_nothing_and_is_counted(world: World, ana: Upstream) -> None:
    log = world.settings.folder.log / "canary.log"
    with upstream("canary", f"127.0.0.1:{free_port()}", log) as canary:
        await world.plane().publish("endpoints", split(ana, canary, 50))
        async with load(world, "/serve/iris/", "POST") as made:
            await made.reach(300)
            assert (await canary_counts(world))[1] == 0
            canary.process.kill()
            await asyncio.to_thread(canary.process.wait)
            requests, errors = await canary_counts(world)
            await made.reach(made.total + 600)
            later, more = await canary_counts(world)
    assert not made.failures
    assert requests > 90
    assert later - requests > 200
    assert abs((later - requests) - (more - errors)) <= CLIENTS  # those under way at either look


async def canary_counts(world: World) -> tuple[int, int]:
    requests, errors = (await world.plane().counts(["canary"]))["canary"]
    assert requests is not None
    assert errors is not None
    return requests, errors


async def test_a_canarys_own_errors_reach_the_user_and_are_counted(
    world: World, ana: Upstream, ben: Upstream
) -> None:
    await world.plane().publish("endpoints", split(ana, ben, 100))
    start = (await world.plane().counts([ben.name]))[ben.name]
    answers = [(await world.ask(f"/serve/iris/{path}")).status_code for path in ("fail", "fail", "fine")]
    end = (await world.plane().counts([ben.name]))[ben.name]
    assert answers == [500, 500, 200]
    assert [new - old for new, old in zip(end, start, strict=True) if new is not None and old is not None] == [
        3,
        2,
    ]


async def test_counts_of_an_unknown_cluster_are_unknown(world: World, ana: Upstream, ben: Upstream) -> None:
    await world.plane().publish("endpoints", split(ana, ben, 1))
    assert await world.plane().counts(["nobody"]) == {"nobody": (None, None)}


async def test_latencies_are_each_clusters_own_and_unknown_before_its_first_answer(
    world: World, ana: Upstream
) -> None:
    """A new name each run, as each canary has: Envoy counts from its first request on."""
    log = world.settings.folder.log / "slow.log"
    with (
        upstream("slow", f"127.0.0.1:{free_port()}", log) as slow,
        upstream("untried", f"127.0.0.1:{free_port()}", log) as untried,
    ):
        clusters = (ana.cluster(), slow.cluster(fallback=ana.name), untried.cluster(fallback=ana.name))
        routes = (Route("/serve/iris/", ((ana.name, 1),)), Route("/serve/slow/", ((slow.name, 1),)))
        await world.plane().publish("endpoints", Fragment(clusters, routes))
        for _ in range(5):
            await world.ask("/serve/iris/")
            await world.ask("/serve/slow/after/0.2")
        names = [ana.name, slow.name, untried.name, "nobody"]
        seen = await known_latencies(world, names, slow.name)
    own, late = seen[ana.name], seen[slow.name]
    assert own[0] is not None
    assert late[0] is not None
    assert late[1] is not None
    assert 190 <= late[0] <= late[1] < 2000
    assert own[0] < late[0]
    assert seen[untried.name] == seen["nobody"] == (None, None)
    assert await world.plane().latencies([]) == {}
    assert await world.plane().latencies([untried.name]) == {untried.name: (None, None)}


async def known_latencies(world: World, names: list[str], which: str) -> dict[str, Latency]:
    """What Envoy says once it has gathered them, which takes it a few seconds."""
    async with asyncio.timeout(30):
        while True:
            seen = await world.plane().latencies(names)
            if seen[which][0] is not None:
                return seen
            await asyncio.sleep(0.1)

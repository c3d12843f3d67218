"""Endpoints with a real store, real processes and a real MLflow; Envoy's files are written, nobody reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from dure.errors import Conflict, NotAllowed, NotFound
from dure_hub.dataplane import Route
from dure_hub.operations.people import NotYourTeam, Person
from dure_hub.operations.serving_errors import CanaryNotReady, CanaryRuns, ChampionNotReady, NoCanary
from dure_hub.operations.serving_rows import View, fragment_for
from dure_hub.store.models import Endpoint, Event, Lease, Replica, Rollout
from tests.support.workshop import Workshop
from tests.unit.operations.endpoints.kit import (
    ANA,
    BEN,
    SLOW,
    deploying,
    leases_left,
    shares,
    trying,
    until_phase,
    until_state,
)

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


def test_a_route_has_shares_and_a_dropped_server_only_keeps_its_cluster() -> None:
    endpoint = Endpoint(id="E", name="numbers", owner="ana", model="digits", profile="cpu", wanted="serve")
    rows = [
        ("A", 1, "champion", 100, "ready"),
        ("B", 2, "canary", 10, "ready"),
        ("C", 3, "retired", 0, "draining"),
    ]
    replicas = tuple(
        Replica(id=key, endpoint_id="E", version=version, role=role, percent=percent, phase=phase, lease_id=key)
        for key, version, role, percent, phase in rows
    )
    leases = {key: Lease(id=key, ended_at=None) for key in "ABC"}
    fragment = fragment_for(
        [View(endpoint, replicas, leases)], lambda lease: f"127.0.0.1:{ord(lease.id)}", "unix:/nobody"
    )
    assert [(c.name, c.address, c.fallback) for c in fragment.clusters] == [
        ("numbers-a", "127.0.0.1:65", None),
        ("numbers-b", "127.0.0.1:66", "numbers-a"),
        ("numbers-c", "127.0.0.1:67", None),
    ]
    assert fragment.routes == (
        Route(
            "/serve/numbers/",
            (("numbers-a", 90), ("numbers-b", 10)),
            auth=True,
            rewrite="/",
            strip=("cookie", "authorization"),
        ),
    )
    fragment.check()


def test_without_anybody_ready_the_route_stays_and_leads_nowhere() -> None:
    endpoint = Endpoint(id="E", name="numbers", owner="ana", model="digits", profile="cpu", wanted="serve")
    replica = Replica(id="A", endpoint_id="E", version=1, role="champion", percent=100, phase="starting")
    fragment = fragment_for([View(endpoint, (replica,), {})], lambda lease: None, "unix:/nobody")
    assert [(c.name, c.address) for c in fragment.clusters] == [("numbers-nobody", "unix:/nobody")]
    assert fragment.routes[0].targets == (("numbers-nobody", 100),)
    endpoint.wanted = "stop"
    assert fragment_for([View(endpoint, (replica,), {})], lambda lease: None, "unix:/nobody").routes == ()


async def test_a_deployed_version_becomes_ready_and_is_routed_to(shop: Workshop) -> None:
    asked = deploying()
    first = await shop.endpoints.deploy(ANA, asked)
    assert (first.state, first.url) == ("starting", "/serve/numbers/")
    assert shares(shop) == {"nobody": 100}
    assert (await shop.endpoints.deploy(ANA, asked)).created_at == first.created_at
    ready = await until_state(shop, "ready")
    assert ready.champion is not None
    assert (ready.champion.phase, ready.champion.percent, ready.champion.requests) == ("ready", 100, None)
    await shop.reconciler.look()
    assert shares(shop) == {"1": 100}
    with shop.store.reading() as session:
        verbs = session.scalars(select(Event.verb)).all()
    assert {"endpoint.deploy", "replica.ready", "endpoint.state"} <= set(verbs)
    assert [e.name for e in await shop.endpoints.list(BEN)] == ["numbers"]


async def test_what_may_not_be_done_says_why(shop: Workshop) -> None:
    with pytest.raises(NotFound):
        await shop.endpoints.deploy(ANA, deploying(99))
    with pytest.raises(NotFound):
        await shop.endpoints.get(ANA, "numbers")
    await shop.endpoints.deploy(ANA, deploying())
    with pytest.raises(Conflict):
        await shop.endpoints.deploy(BEN, deploying())
    with pytest.raises(ChampionNotReady):
        await shop.endpoints.canary(ANA, "numbers", trying(4))
    await until_state(shop, "ready")
    with pytest.raises(NoCanary):
        await shop.endpoints.promote(ANA, "numbers")
    with pytest.raises(NoCanary):
        await shop.endpoints.rollback(ANA, "numbers")
    with pytest.raises(NotFound):
        await shop.endpoints.canary(ANA, "numbers", trying(99))
    for change in (shop.endpoints.promote, shop.endpoints.rollback, shop.endpoints.delete):
        with pytest.raises(NotAllowed):
            await change(BEN, "numbers")
    with pytest.raises(NotAllowed):
        await shop.endpoints.canary(BEN, "numbers", trying(4))
    await shop.endpoints.canary(ANA, "numbers", trying(SLOW))
    with pytest.raises(CanaryRuns):
        await shop.endpoints.canary(ANA, "numbers", trying(4))
    with pytest.raises(CanaryNotReady):
        await shop.endpoints.promote(ANA, "numbers")


async def test_who_has_left_the_team_that_pays_tries_no_version_at_its_cost(shop: Workshop) -> None:
    ana = replace(ANA, teams=frozenset({"red"}))
    await shop.endpoints.deploy(ana, deploying())
    await until_state(shop, "ready")
    with pytest.raises(NotYourTeam):
        await shop.endpoints.canary(ANA, "numbers", trying(4))
    assert (await shop.endpoints.get(ANA, "numbers")).canary is None
    assert (await shop.endpoints.canary(ana, "numbers", trying(4))).canary is not None
    await shop.endpoints.rollback(ANA, "numbers")


async def test_a_canary_gets_its_share_once_ready_and_is_promoted(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    tried = await shop.endpoints.canary(ANA, "numbers", trying(4))
    assert tried.canary is not None
    assert (tried.canary.phase, tried.canary.percent) == ("starting", 0)
    assert shares(shop) == {"1": 100}
    await until_phase(shop, "ready")
    await shop.reconciler.look()
    assert shares(shop) == {"1": 90, "4": 10}
    await shop.endpoints.canary(ANA, "numbers", trying(4, 50))
    assert shares(shop) == {"1": 50, "4": 50}

    promoted = await shop.endpoints.promote(ANA, "numbers")
    assert promoted.champion is not None
    assert (promoted.champion.version, promoted.canary) == (4, None)
    assert shares(shop) == {"4": 100}, "routed before the answer"
    assert await leases_left(shop) == 2, "the old one still answers what it has"

    async def only_one() -> bool:
        return await leases_left(shop) == 1

    await shop.until(only_one, "the old champion is gone")
    await shop.reconciler.look()
    assert len(await shop.serving.seen()) == 1
    assert shares(shop) == {"4": 100}
    assert (await shop.mlflow.acting("ana").version("digits", 4))["aliases"] == ["champion"]
    with shop.store.reading() as session:
        rollout = session.scalars(select(Rollout)).one()
        assert (rollout.from_version, rollout.to_version, rollout.percent, rollout.state) == (1, 4, 50, "promoted")


async def test_a_rollback_gives_everything_back_and_ends_the_canary(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.endpoints.canary(ANA, "numbers", trying(4, 100))
    await until_phase(shop, "ready")
    await shop.reconciler.look()
    assert shares(shop) == {"1": 0, "4": 100}
    back = await shop.endpoints.rollback(ANA, "numbers")
    assert back.canary is None
    assert shares(shop) == {"1": 100}

    async def only_one() -> bool:
        return await leases_left(shop) == 1

    await shop.until(only_one, "the canary is gone")
    with shop.store.reading() as session:
        assert session.scalars(select(Rollout)).one().state == "rolled_back"


async def test_a_deleted_endpoint_frees_name_process_and_lease(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.endpoints.delete(ANA, "numbers")
    assert shares(shop) == {}
    with pytest.raises(NotFound):
        await shop.endpoints.get(ANA, "numbers")
    await shop.endpoints.deploy(BEN, deploying())

    async def bens() -> bool:
        return await leases_left(shop) == 1 and len(await shop.serving.seen()) == 1

    await shop.until(bens, "ana's is gone")
    assert (await until_state(shop, "ready")).owner == "ben"
    await shop.endpoints.delete(Person("root-of-it", admin=True), "numbers")

    async def nothing() -> bool:
        return await leases_left(shop) == 0 and not await shop.serving.seen()

    await shop.until(nothing, "everything is gone")
    assert shop.dataplane.read("endpoints").clusters == ()

"""Endpoints with a real store, real processes and a real MLflow; Envoy's files are written, nobody reads them."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import Conflict, NotAllowed, NotFound
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, ServingWork
from dure_hub.backends.embedded import EmbeddedServing
from dure_hub.backends.embedded.errors import CouldNotStart
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import environment_of
from dure_hub.dataplane import Route
from dure_hub.operations.people import USE, Person
from dure_hub.operations.serving_errors import CanaryNotReady, CanaryRuns, ChampionNotReady, NoCanary
from dure_hub.operations.serving_rows import View, fragment_for
from dure_hub.policies import canary
from dure_hub.settings import Settings
from dure_hub.store.models import Endpoint, Event, Lease, Replica, Rollout
from tests.support.mlflow import mlflow_settings, running_mlflow, save_model
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)

ANA, BEN = Person("ana", scopes=frozenset({USE})), Person("ben", scopes=frozenset({USE}))
STUB = Path(__file__).parents[2] / "support" / "stub_model.py"
GOOD, CRASHES, SLOW = 1, 2, 3
"""Versions of the model `digits`; 4 is as good as 1."""


class StubServing(EmbeddedServing):
    """The real backend with a small server in the place of the model server."""

    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """As `EmbeddedServing.start`."""
        model = ["--model", str(work.model), "--name", work.name, "--version", str(work.version)]
        command = [sys.executable, "-I", "-S", str(STUB), *model, "--port", "{port}"]
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                command=command,
                cwd=work.folder,
                environment=environment_of(work),
                port=True,
            )
        )


class NoMemory(StubServing):
    """A machine that refuses the first starts."""

    def __init__(self, settings: Settings, refusals: int) -> None:
        super().__init__(settings)
        self.refusals = refusals

    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """Refuse, or start."""
        if self.refusals:
            self.refusals -= 1
            raise CouldNotStart(why="Cannot allocate memory")
        return super().start(work)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real MLflow server for all tests here."""
    with running_mlflow(mlflow_settings(tmp_path_factory.mktemp("mlflow"))) as settings:
        yield settings


@pytest.fixture
async def settings(tmp_path: Path, mlflow: Settings) -> AsyncIterator[Settings]:
    """A data folder; whatever runs of it is ended at the end."""
    made = workshop_settings(tmp_path / "data", mlflow)
    yield made
    await end_all(made)


@pytest.fixture
async def shop(settings: Settings, mlflow: Settings) -> AsyncIterator[Workshop]:
    """The operations, and a model of ana's with four versions."""
    async with workshop(settings, serving=StubServing(settings)) as made:
        await four_versions(made, mlflow)
        yield made


async def four_versions(shop: Workshop, mlflow: Settings) -> None:
    """Register them once for all tests."""
    ana = shop.mlflow.acting("ana")
    await ana.ensure_model("digits", {})
    if await ana.versions("digits"):
        await ana.delete_alias("digits", "champion")
        return
    experiment = await ana.experiment("ana/default")
    for extra in ({}, {"crash": b""}, {"slow": b""}, {}):
        run_id = await ana.create_run(experiment, "made", {}, 1000)
        model = save_model(mlflow, "ana", experiment, run_id, {"MLmodel": b"x", **extra})
        await ana.create_version("digits", model, run_id, {})


def deploying(version: int = GOOD, name: str = "numbers") -> wire.DeployRequest:
    return wire.DeployRequest(id=new_id(), name=name, model="digits", version=version)


def trying(version: int, percent: int = 10) -> wire.CanaryRequest:
    return wire.CanaryRequest(id=new_id(), version=version, percent=percent)


async def until_state(shop: Workshop, state: str, name: str = "numbers") -> wire.Endpoint:
    """Wait for an endpoint's state."""

    async def look() -> wire.Endpoint | None:
        endpoint = await shop.endpoints.get(ANA, name)
        return endpoint if endpoint.state == state else None

    found = await shop.until(look, f"{name} is {state}")
    assert found is not None
    return found


async def until_phase(shop: Workshop, phase: str) -> wire.Replica:
    """Wait for the canary's phase."""

    async def look() -> wire.Replica | None:
        canary = (await shop.endpoints.get(ANA, "numbers")).canary
        return canary if canary is not None and canary.phase == phase else None

    found = await shop.until(look, f"the canary is {phase}")
    assert found is not None
    return found


def shares(shop: Workshop, name: str = "numbers") -> dict[str, int]:
    """Versions that answer under the published route, each with its share; by asking them."""
    fragment = shop.dataplane.read("endpoints")
    routes = [route for route in fragment.routes if route.prefix == f"/serve/{name}/"]
    found = {}
    for cluster, share in routes[0].targets if routes else ():
        address = next(c.address for c in fragment.clusters if c.name == cluster)
        found[version_at(address)] = share
    return found


def version_at(address: str) -> str:
    """Which version answers here; `nobody` for the place where nobody does."""
    if address.startswith("unix:"):
        return "nobody"
    with httpx.Client(trust_env=False) as client:
        return str(client.post(f"http://{address}/invocations").json()["version"])


async def leases_left(shop: Workshop) -> int:
    """Active leases."""
    with shop.store.reading() as session:
        return len(session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all())


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


async def test_a_canary_that_cannot_be_loaded_fails_and_takes_no_request(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.endpoints.canary(ANA, "numbers", trying(CRASHES, 50))

    look = itertools.count()

    async def failed() -> wire.Replica | None:
        (shop.settings.folder.root / "clock").write_text(str(3 * next(look)))  # so as not to sit out the pauses
        canary = (await shop.endpoints.get(ANA, "numbers")).canary
        assert shares(shop) == {"1": 100}
        return canary if canary is not None and canary.phase == "failed" else None

    canary = await shop.until(failed, "the canary is given up")
    assert canary is not None
    assert "this model cannot be loaded" in (canary.reason or "")
    assert (await shop.endpoints.get(ANA, "numbers")).state == "ready"
    await shop.endpoints.rollback(ANA, "numbers")
    await shop.endpoints.canary(ANA, "numbers", trying(4))
    await until_phase(shop, "ready")


async def test_a_crashed_champion_is_started_again_under_its_lease(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.reconciler.look()
    (before,) = await shop.serving.seen()
    host, port = shop.serving.address(before.handle)
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(f"http://{host}:{port}/die")
    degraded = await until_state(shop, "degraded")
    assert "started again" in (degraded.reason or "")
    assert shares(shop) == {"nobody": 100}
    ready = await until_state(shop, "ready")
    assert ready.champion is not None
    assert ready.champion.model_dump()["restarts"] == 1
    await shop.reconciler.look()
    assert shares(shop) == {"1": 100}
    (after,) = await shop.serving.seen()
    assert after.handle.lease == before.handle.lease
    assert after.handle.where != before.handle.where


async def test_what_has_answered_once_is_tried_again_also_by_the_next_portal(
    settings: Settings, mlflow: Settings
) -> None:
    async with workshop(settings, serving=StubServing(settings)) as first:
        await four_versions(first, mlflow)
        await first.endpoints.deploy(ANA, deploying())
        await until_state(first, "ready")
        (before,) = await first.serving.seen()
        await first.serving.stop(before.handle, 0)
    (settings.folder.root / "clock").write_text("11")  # its leadership has ended
    short = NoMemory(settings, refusals=canary.GIVE_UP + 1)
    async with workshop(settings, serving=short) as second:
        times = itertools.count(1)

        async def ready() -> bool:
            (settings.folder.root / "clock").write_text(str(11 + 31 * next(times)))  # past every pause
            champion = (await second.endpoints.get(ANA, "numbers")).champion
            assert champion is not None
            assert champion.phase != "failed"
            return champion.phase == "ready"

        await second.until(ready, "it runs again")
        assert short.refusals == 0


async def test_one_endpoint_that_cannot_go_on_holds_up_no_other(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    with shop.store.transaction() as session:  # the profile has gone with its card, and its lease with it
        session.scalars(select(Endpoint)).one().profile = "gpu-gone"
        replica = session.scalars(select(Replica)).one()
        lease = session.get_one(Lease, replica.lease_id)
        lease.ended_at, lease.end_reason = datetime.now(UTC), "lost"
        replica.phase, replica.lease_id = "crashed", None
    await shop.endpoints.deploy(ANA, deploying(4, "others"))
    await until_state(shop, "ready", "others")
    stuck = (await shop.endpoints.get(ANA, "numbers")).champion
    assert stuck is not None
    assert "gpu-gone" in (stuck.reason or "")


async def test_a_champion_that_vanished_gets_a_new_place(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    (before,) = await shop.serving.seen()
    for process in shop.serving.runner.marked(before.handle.lease):
        os.kill(process.pid, signal.SIGKILL)
    shop.serving.runner.folder(before.handle.lease).remove()
    (shop.settings.folder.root / "clock").write_text("40")  # patience with what may only just be starting
    await until_state(shop, "degraded")
    await until_state(shop, "ready")
    await shop.reconciler.look()
    assert shares(shop) == {"1": 100}
    assert await leases_left(shop) == 1


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


async def test_endpoints_outlive_the_portal_and_nothing_is_doubled(settings: Settings, mlflow: Settings) -> None:
    async with workshop(settings, serving=StubServing(settings)) as first:
        await four_versions(first, mlflow)
        await first.endpoints.deploy(ANA, deploying())
        await until_state(first, "ready")
        await first.endpoints.canary(ANA, "numbers", trying(4))
        await until_phase(first, "ready")
        before = {s.handle.lease for s in await first.serving.seen()}
        with first.store.transaction() as session:  # as if it had died before it noted what it had started
            for replica in session.scalars(select(Replica)).all():
                replica.phase = "starting"
            for lease in session.scalars(select(Lease)).all():
                lease.handle = {}
    (settings.folder.root / "clock").write_text("11")  # its leadership has ended
    async with workshop(settings, serving=StubServing(settings)) as second:
        await until_phase(second, "ready")
        await until_state(second, "ready")
        await second.reconciler.look()
        assert {s.handle.lease for s in await second.serving.seen()} == before
        assert shares(second) == {"1": 90, "4": 10}

"""What idleness is judged by: a GPU that computes in silence is use; one that nobody sees is neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from dure import wire
from dure.errors import NotFound, NotRunning
from dure_hub.backends.base import Inventory, Measures, OwnUse, Reading
from dure_hub.operations.checks import gpu_state
from dure_hub.operations.people import Person
from dure_hub.store.models import Lease
from tests.support.world import World, gpus

ANN, BEN = Person("ann"), Person("ben")
REPORT_S = 120
GPU = gpus(1)[0].uuid
WHOLE = {"device": GPU}
SHARED = {"device": GPU, "share": 500}
MIG = {"device": GPU, "mig": "1g.10gb", "visible": "MIG-1"}
CPU = {"device": "cpu"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A portal with one GPU, in which an hour without use ends a server."""
    made = World(tmp_path, Inventory(cpu_cores=8, memory_mb=65536, devices=gpus(1)), idle_timeout_s=3600)
    yield made
    await made.close()


def measured(utilisation: float | None) -> Measures:
    return Measures(devices={GPU: Reading(utilisation=utilisation)})


def shared(whole: float, **own: OwnUse) -> Measures:
    """A GPU and what leases use of it."""
    return Measures(devices={GPU: Reading(utilisation=whole)}, own={GPU: own})


@pytest.mark.parametrize(
    ("slices", "measures", "state"),
    [
        ([WHOLE], measured(0.05), "idle"),
        ([WHOLE], measured(0.051), "in_use"),
        ([WHOLE], measured(None), "unknown"),
        ([WHOLE], Measures(), "unknown"),
        ([SHARED], measured(0.0), "idle"),
        ([SHARED], measured(1.0), "unknown"),
        ([SHARED], measured(None), "unknown"),
        ([SHARED], shared(1.0, me=OwnUse(0, 0.0, 0.05, 0.05)), "idle"),
        ([SHARED], shared(1.0, me=OwnUse(0, 0.0, 0.06, 0.06)), "in_use"),
        ([SHARED], shared(1.0, me=OwnUse(0, 0.0, 0.06, 1.0)), "in_use"),
        ([SHARED], shared(0.0, me=OwnUse(0, 0.0, 0.0, 0.3)), "unknown"),
        ([SHARED], shared(0.0, me=OwnUse()), "unknown"),
        ([SHARED], shared(1.0, other=OwnUse(0, 0.0, 0.0, 0.0)), "unknown"),
        ([WHOLE], shared(1.0, me=OwnUse(0, 0.0, 0.0, 0.0)), "in_use"),
        ([WHOLE, SHARED], shared(0.0, me=OwnUse(0, 0.9, 0.9, 0.9)), "in_use"),
        ([MIG], Measures(instances={"MIG-1": Reading(utilisation=0.9)}), "in_use"),
        ([MIG], Measures(instances={"MIG-1": Reading(utilisation=0.0)}), "idle"),
        ([MIG], measured(0.9), "unknown"),
        ([CPU, MIG, WHOLE], measured(0.9), "in_use"),
        ([MIG, WHOLE], measured(0.0), "unknown"),
    ],
)
def test_whether_the_gpus_of_a_lease_compute(slices: list[dict[str, Any]], measures: Measures, state: str) -> None:
    assert gpu_state(slices, "me", measures, 0.05) == state


async def start(world: World, profile: str) -> str:
    """Ann's server, which the hub says nobody uses."""
    grant = await world.environments.claim("ann", "", None, profile)
    world.servers.put(grant.lease)
    world.jupyterhub.put("ann", last_activity="2020-01-01T00:00:00Z")
    await looks(world)
    return grant.lease


async def gpu_profile(world: World) -> str:
    """The one that is a whole GPU."""
    offers = await world.profiles.fleet()
    return next(name for name, spec in offers.profiles.items() if spec.gpus == 1)


async def looks(world: World) -> None:
    for _ in range(5):
        await world.reconciler.look()


async def unused(world: World, seconds: int, says: str | None = None) -> None:
    """Time passes; the server reports each minute, if it does."""
    for _ in range(seconds // 60):
        world.clock.move(60)
        if says is not None and (await world.environments.get(ANN, "default")).phase == "running":
            report = wire.ActivityReport(kernels=says, terminals=says)
            await world.environments.report(ANN, "default", report)
        await looks(world)


async def checks(world: World) -> dict[str, wire.Check]:
    seen = await world.environments.get(ANN, "default")
    return {one.check: one for one in seen.checks}


async def phase(world: World) -> str:
    return (await world.environments.get(ANN, "default")).phase


async def test_a_silent_computation_of_hours_is_use_until_it_ends(world: World) -> None:
    world.place.measures = measured(0.9)
    await start(world, await gpu_profile(world))
    begun = world.clock()
    await unused(world, 3 * 3600, "idle")
    assert await phase(world) == "running"
    found = (await checks(world))["gpu"]
    assert (found.state, found.since) == ("in_use", begun)
    world.place.measures = measured(0.0)
    await unused(world, 120, "idle")
    assert (await checks(world))["gpu"].state == "idle"
    await unused(world, 3600 + REPORT_S, "idle")
    assert await phase(world) in ("stopping", "stopped")


async def test_on_a_shared_gpu_only_ones_own_processes_keep_a_server(world: World) -> None:
    lease = await start(world, await gpu_profile(world))
    with world.store.transaction() as session:
        row = session.get_one(Lease, lease)
        row.slices = [{**piece, "share": 500} for piece in row.slices]
    begun = world.clock()
    world.place.measures = shared(1.0, **{lease: OwnUse(100, 0.0, 0.4, 0.4)})
    await unused(world, 2 * 3600, "idle")
    assert await phase(world) == "running"
    found = (await checks(world))["gpu"]
    assert (found.state, found.since) == ("in_use", begun + timedelta(seconds=60))
    world.place.measures = shared(1.0, **{lease: OwnUse(100, None, 0.0, 0.7)})
    await unused(world, 60, "idle")
    assert (await checks(world))["gpu"] == wire.Check(check="gpu", state="unknown", since=None)
    world.place.measures = shared(1.0, **{lease: OwnUse(100, 0.0, 0.0, 0.0), "another": OwnUse(9, 1.0, 1.0, 1.0)})
    await unused(world, 60, "idle")
    assert (await checks(world))["gpu"].state == "idle"
    await unused(world, 3600 + REPORT_S)
    assert await phase(world) in ("stopping", "stopped"), "without a word of the server's own"


@pytest.mark.parametrize(("says", "ends"), [("idle", True), ("unknown", False), (None, False)])
async def test_a_gpu_that_nobody_sees_leaves_it_to_what_the_server_says(
    world: World, says: str | None, ends: bool
) -> None:
    await start(world, await gpu_profile(world))
    await unused(world, 2 * 3600, says)
    assert (await phase(world) != "running") == ends
    if not ends:
        assert (await checks(world))["gpu"] == wire.Check(check="gpu", state="unknown", since=None)


async def test_without_a_gpu_nothing_waits_for_what_the_server_says(world: World) -> None:
    await start(world, "cpu")
    assert "gpu" not in await checks(world)
    await unused(world, 2 * 3600)
    assert await phase(world) != "running"


async def test_what_cannot_be_measured_is_unknown_and_stops_no_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.place.measures = measured(0.0)
    await start(world, await gpu_profile(world))

    async def broken() -> NoReturn:
        raise OSError("the driver is gone")

    assert (await checks(world))["gpu"].state == "idle"
    monkeypatch.setattr(world.runs._idleness, "_measure", broken)
    await unused(world, 60)
    assert (await checks(world))["gpu"].state == "unknown"


async def test_what_a_server_says_is_shown_for_as_long_as_it_says_it(world: World) -> None:
    await start(world, "cpu")
    assert {name: one.state for name, one in (await checks(world)).items()} == {
        "kernels": "unknown",
        "terminals": "unknown",
        "pages": "unknown",
        "jobs": "idle",
        "requests": "in_use",
    }
    begun = world.clock()
    await world.environments.report(ANN, "default", wire.ActivityReport(kernels="in_use", terminals="idle"))
    world.clock.move(60)
    await world.environments.report(ANN, "default", wire.ActivityReport(kernels="in_use", terminals="in_use"))
    found = await checks(world)
    assert (found["kernels"].state, found["kernels"].since) == ("in_use", begun)
    assert (found["terminals"].state, found["terminals"].since) == ("in_use", begun + timedelta(seconds=60))
    assert found["pages"].state == "unknown"
    world.clock.move(300)
    found = await checks(world)
    assert (found["kernels"].state, found["kernels"].since) == ("unknown", None), "it says nothing any more"
    assert found["requests"].state == "idle"


async def test_a_report_is_of_ones_own_running_server(world: World) -> None:
    with pytest.raises(NotFound):
        await world.environments.report(BEN, "default", wire.ActivityReport())
    await start(world, "cpu")
    await world.environments.stop(ANN, "default")
    with pytest.raises(NotRunning):
        await world.environments.report(ANN, "default", wire.ActivityReport())
    assert await checks(world) == {}

"""Homes that are on some nodes alone: their owners' servers go there, and wait for these nodes alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory, NodeInventory
from dure_hub.operations.errors import HomeElsewhere, MustWait
from dure_hub.operations.people import Person
from dure_hub.operations.queues import Queues
from dure_hub.services.queue import why
from dure_hub.services.why import told
from tests.support.world import FixedInventory, World, gpus

NODES = [
    NodeInventory(name, 16, 1 << 17, [replace(one, uuid=f"GPU-{name}", node=name) for one in gpus(1)])
    for name in ("n1", "n2")
]
PLACE = Inventory.of([*NODES, NodeInventory("n3", 16, 1 << 17)])
ANN, BEN, CHO = (Person(name) for name in ("ann", "ben", "cho"))
CLUSTER: Mapping[str, Any] = {"backend": "kubernetes", "server_image": "any:1"}


class WithHomes(FixedInventory):
    """A place that knows where homes are, and counts who it is asked about."""

    def __init__(self, inventory: Inventory, homes: Mapping[str, Collection[str]]) -> None:
        super().__init__(inventory)
        self.where = {owner: frozenset(nodes) for owner, nodes in homes.items()}
        self.asked: list[str] = []

    async def homes(self, owners: Collection[str]) -> Mapping[str, frozenset[str]]:
        """As was said."""
        self.asked += owners
        return {owner: nodes for owner, nodes in self.where.items() if owner in owners}


def make(folder: Path, homes: Mapping[str, Collection[str]], **settings: Any) -> World:
    """A world of three nodes, of which two have a GPU; the hub is away."""
    world = World(folder, PLACE, **settings)
    world.place = world.profiles._inventory = WithHomes(PLACE, homes)
    world.jupyterhub.away = True
    return world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Ann's and Ben's homes are on n2."""
    made = make(tmp_path, {"ann": ["n2"], "ben": ["n2"], "eve": ["n3"], "lee": []})
    yield made
    await made.close()


async def ask(world: World, who: Person, name: str = "default", profile: str = "gpu-full") -> wire.Environment:
    return await world.environments.request(who, wire.EnvironmentRequest(id=new_id(), name=name, profile=profile))


async def seen(world: World, who: Person, name: str = "default") -> wire.Environment:
    return told(await world.environments.get(who, name))


def node_of(found: wire.Environment) -> str:
    assert found.lease is not None, found
    return found.lease.slices[0].node


async def look(world: World) -> None:
    world.profiles.forget()
    await world.reconciler.look()


async def end(world: World, who: Person) -> None:
    lease = (await seen(world, who)).lease
    assert lease is not None
    await world.environments.ended(lease.id, "stopped")


async def test_a_home_decides_the_node_and_another_nodes_slice_is_not_taken(world: World) -> None:
    assert node_of(await ask(world, ANN)) == "n2"
    ben = told(await ask(world, BEN))
    assert ben.phase == "waiting"
    assert ben.ticket is not None
    assert (ben.ticket.waits_for, ben.ticket.position) == ("home", 1)
    assert ben.ticket.why is not None
    assert ben.ticket.why["en"].startswith("Your home can be used on n2 alone")
    assert ben.ticket.why["ko"].startswith("홈을 쓸 수 있는 노드는 n2뿐이고")
    assert ben.ticket.expected_start is not None, "the end of what ann has"
    assert node_of(await ask(world, CHO)) == "n1", "who waits for another node is in nobody's way"
    await end(world, CHO)
    await look(world)
    assert (await seen(world, BEN)).phase == "waiting", "that is not where his home is"
    await end(world, ANN)
    await look(world)
    assert node_of(await seen(world, BEN)) == "n2"


async def test_where_ones_home_is_is_not_told_to_others(world: World) -> None:
    await ask(world, ANN)
    await ask(world, BEN)
    queues = Queues(world.store, world.clock, world.profiles)
    for who, knows in ((BEN, True), (CHO, False)):
        (entry,) = await queues.list(who)
        said = why(entry, told=entry.owner is not None)
        assert said is not None
        assert all(("n2" in one) is knows and "unknown" not in one for one in said.values()), said


async def test_what_never_fits_where_the_home_is_is_refused_by_name(world: World) -> None:
    with pytest.raises(HomeElsewhere, match="on n3 alone, and gpu-full never fits there"):
        await ask(world, Person("eve"))
    assert node_of(await ask(world, Person("eve"), profile="cpu")) == "n3"
    with pytest.raises(HomeElsewhere, match="on - alone"):
        await ask(world, Person("lee"), profile="cpu")


async def test_a_start_straight_through_the_hub_knows_it_too(world: World) -> None:
    await ask(world, ANN)
    with pytest.raises(MustWait):
        await world.environments.claim("ben", "", None, "gpu-full", [])
    world.profiles.forget()
    claimed = await world.environments.claim("cho", "", None, "gpu-full", [])
    assert claimed.node == "n1"


async def test_who_asked_another_process_is_asked_about_before_anything_is_granted(
    world: World, tmp_path: Path
) -> None:
    await ask(world, ANN)
    world.profiles.forget()
    await world.profiles.fleet()
    hub = make(tmp_path, {"ben": ["n2"]})
    await ask(hub, BEN)
    await hub.close()
    await world.reconciler.look()  # by the look at the place that it has
    assert (await seen(world, BEN)).phase == "waiting"
    assert "ben" in world.place.asked  # type: ignore[attr-defined]


async def test_a_second_server_goes_to_the_node_of_the_first_where_a_home_is_on_one_at_a_time(
    tmp_path: Path,
) -> None:
    world = make(tmp_path, {}, **CLUSTER)
    first = node_of(await ask(world, ANN))
    second = told(await ask(world, ANN, "second"))
    assert second.phase == "waiting"
    assert second.ticket is not None
    assert second.ticket.waits_for == "own_server", "its owner may end that"
    assert node_of(await ask(world, ANN, "third", "cpu")) == first
    assert node_of(await ask(world, BEN)) != first
    await world.close()


@pytest.mark.parametrize(
    "settings", [{}, {**CLUSTER, "home_access": "ReadWriteMany"}, {**CLUSTER, "home_size_gb": 0}]
)
async def test_elsewhere_a_second_server_goes_anywhere(tmp_path: Path, settings: Mapping[str, Any]) -> None:
    world = make(tmp_path, {}, **settings)
    assert node_of(await ask(world, ANN)) != node_of(await ask(world, ANN, "second"))
    await world.close()


async def test_two_servers_of_a_person_that_start_at_once_are_on_one_node(tmp_path: Path) -> None:
    world = make(tmp_path, {}, **CLUSTER)
    for who in (BEN, CHO):
        await ask(world, who)
    for name in ("first", "second"):
        assert (await ask(world, ANN, name)).phase == "waiting"
    for who in (BEN, CHO):
        await end(world, who)
    await look(world)
    phases = [(await seen(world, ANN, name)).phase for name in ("first", "second")]
    assert phases == ["starting", "waiting"], "each node has one GPU"
    await world.close()

"""What is held from outside, or closed for now, on a cluster: people wait for it, and are told why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory, Kind
from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.inventory import NO_GPU, SWITCHED_OFF, of_nodes
from dure_hub.backends.kubernetes.marks import make_labels
from dure_hub.backends.kubernetes.pods import CONTAINER
from dure_hub.catalogue.machine import closing, opened
from dure_hub.operations import admission
from dure_hub.operations.errors import NeverFits
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet, Profiles, fleet_of
from dure_hub.policies.board import Board
from dure_hub.services.pages import words
from dure_hub.services.why import sentence_of, waits_for
from dure_hub.settings import Settings
from dure_hub.store.models import Lease, Ticket
from tests.support.world import FixedInventory, World
from tests.unit.kubernetes.objects import Object, node, pod

H100 = {stock.PRODUCT: "NVIDIA-H100-80GB-HBM3", stock.MEMORY: "81559"}
SHARED = {stock.PRODUCT: "NVIDIA-A10-SHARED", stock.REPLICAS: "4", stock.MEMORY: "23028"}
CLUSTER = Settings(backend="kubernetes", server_image="registry.example/lab:1")
ANN = Person("ann")
FULL = {"n1": pod(gpu="8", cpu="15900m", memory="63Gi")}


def inventory(nodes: Sequence[Object], pods: Sequence[Object] = ()) -> Inventory:
    return Inventory.of(stock.read(nodes, pods, "p1"))


def fleet(nodes: Sequence[Object], pods: Sequence[Object] = ()) -> Fleet:
    return fleet_of(inventory(nodes, pods), CLUSTER)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


def ask(world: World, place: Fleet, profile: str) -> Lease | Ticket:
    with world.store.transaction() as session:
        return admission.admit(
            session,
            ticket_id=new_id(),
            owner="ann",
            purpose=admission.NOTEBOOK,
            subject="s",
            profile=profile,
            lifetime_s=3600,
            now=world.clock(),
            fleet=place,
        )


def told(got: Lease | Ticket) -> tuple[str, dict[str, Any], str]:
    """Code and facts of why it waits, and the sentence."""
    assert isinstance(got, Ticket)
    code, facts = got.verdict["code"], {"profile": got.profile, **got.verdict["facts"]}
    assert waits_for(got.verdict) == "room"
    return code, facts, words.say(sentence_of(code, facts), "en", facts)


def sizes(place: Fleet) -> dict[str, tuple[float, int]]:
    return {name: (one.cpu_cores, one.memory_mb) for name, one in place.profiles.items()}


def test_what_a_profile_is_does_not_follow_what_others_run() -> None:
    nodes = [node("n1", labels=H100, gpu="8"), node("n2", labels=H100, gpu="8")]
    quiet, loud = fleet(nodes), fleet(nodes, [pod("n1", cpu="15900m", memory="63Gi")])
    assert sizes(loud) == sizes(quiet)
    assert sizes(quiet)["gpu-full-x8"] == (8 * CLUSTER.cpu_overcommit, 32768)
    one = loud.profiles["gpu-full"]
    assert Board(loud.machines).count(one) == 8, "all of the quiet node, and none of the other"
    assert {piece.node for piece in Board(loud.machines).place(one).slices} == {"n2"}


def test_the_portals_memory_is_its_pods_own_on_a_cluster() -> None:
    assert [one.memory_mb for one in fleet([node("a"), node("b")]).machines] == [65536, 65536]
    assert fleet_of(inventory([node("a")]), Settings(memory_reserved_mb=1000)).machines[0].memory_mb == 64536


@pytest.mark.parametrize(
    ("labels", "asks", "profile", "code"),
    [
        (H100, {"gpu": "8"}, "gpu-full", "no_gpu_free"),
        (H100, {"mig_1g_10gb": "7"}, "mig-1g.10gb", "no_slice_free"),
        (SHARED, {"gpu": "8"}, "gpu-shared", "no_slice_free"),
    ],
    ids=["whole", "mig", "shared"],
)
async def test_what_others_hold_all_of_is_waited_for(
    world: World, labels: dict[str, str], asks: dict[str, str], profile: str, code: str
) -> None:
    nodes = [node("n1", labels=labels, **asks)]  # type: ignore[arg-type]
    empty, full = fleet(nodes), fleet(nodes, [pod("n1", **asks)])  # type: ignore[arg-type]
    assert full.profiles == empty.profiles
    why, facts, sentence = told(ask(world, full, profile))
    assert (why, facts["total"]) == (code, Board(empty.machines).count(empty.profiles[profile]))
    assert "pods that Dure did not start hold" in sentence, sentence
    assert str(facts["outside"]) in sentence


@pytest.mark.parametrize("how", [{"cordoned": True}, {"ready": False}])
@pytest.mark.parametrize("profile", ["gpu-full", "mig-1g.10gb", "cpu"])
async def test_what_is_on_closed_nodes_is_waited_for(world: World, how: dict[str, bool], profile: str) -> None:
    nodes = [node("n1", labels=H100, gpu="2", mig_1g_10gb="7", **how)]  # type: ignore[arg-type]
    place = fleet(nodes)
    _, facts, sentence = told(ask(world, place, profile))
    assert "take nobody now" in sentence, sentence
    assert facts["away"] == (2 if profile == "gpu-full" else 1)


async def test_a_node_full_of_others_is_waited_for_and_one_that_is_too_small_is_not(world: World) -> None:
    small = node("n1", pods="5")
    for others, code in (
        ([pod("n1", cpu="15900m")], "no_cores_free"),
        ([pod("n1", cpu="15810m")], "no_cores_free"),
        ([pod("n1", memory="63900Mi")], "no_memory_free"),
        ([pod("n1")] * 5, "no_pods_free"),
        ([pod("n1", cpu="20", memory="100Gi")], "no_memory_free"),
    ):
        why, facts, sentence = told(ask(world, fleet([small], others), "cpu"))
        assert why == code
        assert min(facts.get("free", 0), facts.get("free_mb", 0)) >= 0, "never less than none"
        assert facts.get("free", 0) == round(facts.get("free", 0), 2), "as people read it"
        assert code == "no_pods_free" or "Pods that Dure did not start hold" in sentence
    tiny = node("n1")
    tiny["status"]["allocatable"]["memory"] = "100Mi"
    with pytest.raises(NeverFits):
        ask(world, fleet([tiny]), "cpu")


async def test_a_form_keeps_its_profiles_and_tells_what_is_free_and_why_not_all(world: World) -> None:
    nodes = [node("n1", labels=H100, gpu="4"), node("n2", labels=H100, gpu="4", cordoned=True)]
    seen = FixedInventory(inventory(nodes, [pod("n1", gpu="1")]))
    profiles = Profiles(world.settings, world.store, world.clock, seen)
    shown = {one.name: one for one in await profiles.list(ANN)}
    full = shown["gpu-full"]
    assert (full.free, full.total) == (3, 8)
    assert (full.closed, full.closed_of, full.closed_kinds) == (5, 8, {"outside": 1, "node": 4})
    assert (shown["gpu-full-x4"].free, shown["gpu-full-x4"].total) == (0, 2)
    assert all(words.has(f"spawn.closed.{kind}") for kind in full.closed_kinds)
    one = await profiles.get("gpu-full")
    assert (one.free, one.total, one.closed_kinds) == (3, 8, full.closed_kinds)


@pytest.mark.parametrize("what", ["gpu", "gpu_shared", "mig_1g_10gb"])
def test_with_gpus_switched_off_nothing_of_them_is_offered(what: str) -> None:
    nodes = stock.read([node("n1", labels=H100, **{what: "7"})], [], "p1")  # type: ignore[arg-type]
    on, off = of_nodes(nodes), of_nodes(nodes, use_gpu=False)
    assert (len(on.devices) > 0, on.why_no_gpu, off.devices, off.why_no_gpu) == (True, None, (), SWITCHED_OFF)
    assert list(fleet_of(off, CLUSTER).profiles) == ["cpu"]
    assert of_nodes(stock.read([node("n1")], [], "p1")).why_no_gpu == NO_GPU


def test_who_closes_and_opens_gpus_opens_none_that_the_place_bars() -> None:
    nodes = [node("n1", labels=H100, gpu="2")]
    (machine,) = fleet(nodes, [pod("n1", gpu="1")]).machines
    free, held = machine.gpus
    assert (free.closed, held.closed) == (False, True)
    assert [gpu.closed for gpu in closing(machine, frozenset({free.uuid})).gpus] == [True, True]
    assert [gpu.closed for gpu in closing(closing(machine, frozenset({free.uuid})), frozenset()).gpus] == [
        False,
        True,
    ]
    assert closing(machine, frozenset()) is machine
    assert not any(gpu.closed for gpu in opened(machine).gpus)
    assert opened(opened(machine)) == opened(machine)


def test_a_holder_on_a_node_that_is_closed_gives_no_room_when_it_ends() -> None:
    open_, shut = (fleet([node("n1", labels=H100, gpu="1", cordoned=how)]) for how in (False, True))
    spec = open_.profiles["gpu-full"]
    held = Board(open_.machines).place(spec).slices
    board = Board(shut.machines, held)
    board.give_back(held)
    assert (board.count(spec), board.place(spec).verdict.code) == (0, "no_gpu_free")
    assert Board(open_.machines, held).count(open_.profiles["cpu"]) > 0


@pytest.mark.parametrize("closed", ["n1", "n2"])
def test_of_two_nodes_that_are_alike_but_for_that_the_open_one_is_given(closed: str) -> None:
    place = fleet([node(name, cordoned=name == closed) for name in ("n1", "n2")])
    board, cpu = Board(place.machines), place.profiles["cpu"]
    assert board.count(cpu) == Board(place.whole).count(cpu) // 2
    assert {piece.node for piece in board.place(cpu).slices} == {"n1", "n2"} - {closed}


def test_who_holds_a_gpu_from_outside_has_its_cores_already() -> None:
    """Else people without a GPU would lose the room twice: what is asked for, and what is kept for the GPU."""
    nodes = [node("n1", labels=H100, gpu="4")]
    place = fleet(nodes, [pod("n1", gpu="4", cpu="8", memory="32Gi")])
    assert Board(place.machines).count(place.profiles["cpu"]) == 16, "of memory, 2 GiB each"


def test_a_sidecar_of_ours_leaves_less_for_others() -> None:
    labels = make_labels(portal="p1", lease="01L", kind=Kind.SERVER, owner="ann")
    own = pod("n1", labels=labels, container=CONTAINER, cpu="4")
    own["spec"]["initContainers"] = [
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "6"}}}
    ]
    (machine,) = fleet([node("n1")], [own]).machines
    assert machine.held_cores == 6 * CLUSTER.cpu_overcommit


def test_places_for_pods_are_counted_and_kept_for_gpus() -> None:
    place = fleet([node("n1", labels=H100, gpu="2", pods="5")], [pod("n1")])
    board, cpu, full = Board(place.machines), place.profiles["cpu"], place.profiles["gpu-full"]
    assert (board.count(cpu), board.count(full)) == (2, 2), "of five one is others', and two are the GPUs'"
    for _ in range(2):
        board.take(board.place(cpu).slices)
    assert (board.place(cpu).verdict.code, board.count(full)) == ("no_pods_free", 2)
    board.take(board.place(full).slices)
    assert (board.count(cpu), board.count(full)) == (0, 1)
    many = Board([replace(place.machines[0], pods=None)])
    assert many.count(cpu) > 2

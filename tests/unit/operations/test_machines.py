"""From what was seen to what placement counts; and what a lease is shown of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dure_hub.backends.base import Device, Inventory, MigDevice, NodeInventory
from dure_hub.backends.embedded import SimulatedInventory
from dure_hub.catalogue import gpus
from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import profiles
from dure_hub.operations import admission
from dure_hub.operations.machines import gpu_of, machines_of
from dure_hub.policies.board import Board
from dure_hub.policies.slices import Slice
from dure_hub.settings import Settings
from dure_hub.store.models import Lease

SETTINGS = Settings(cpu_overcommit=2, memory_reserved_mb=1000)


def h100(**more: object) -> Device:
    model = gpus.by_pci(0x2330)
    assert model is not None
    return Device("GPU-1", "NVIDIA H100 80GB HBM3", 81559, key=model.key, **more)  # type: ignore[arg-type]


def test_a_place_without_nodes_is_one_machine_that_keeps_the_portals_memory() -> None:
    (machine,) = machines_of(Inventory(8, 64_000, [h100()]), SETTINGS)
    assert (machine.cores, machine.memory_mb, machine.name) == (16, 63_000, "")
    assert [gpu.uuid for gpu in machine.gpus] == ["GPU-1"]


def test_each_node_is_a_machine_with_its_pool() -> None:
    nodes = [NodeInventory("a", 4, 8000, [h100()], "training"), NodeInventory("b", 2, 4000)]
    first, second = machines_of(Inventory.of(nodes), SETTINGS)
    assert (first.name, first.pool, first.memory_mb) == ("a", "training", 7000)
    assert (second.name, second.memory_mb, second.gpus) == ("b", 4000, ())


def test_a_simulated_node_has_no_portal_on_it() -> None:
    nodes = [NodeInventory("a", 4, 8000)]
    assert machines_of(Inventory.of(nodes, simulated=True), SETTINGS)[0].memory_mb == 8000


def test_a_gpu_with_mig_on_is_given_in_instances() -> None:
    there = (MigDevice("MIG-1", "3g.40gb", 4, 4), MigDevice("MIG-2", None, 0, 4))
    gpu = gpu_of(h100(mig_mode=True, instances=there, carves=True), SETTINGS)
    assert gpu.grid is not None
    assert [(one.profile, one.start, one.uuid) for one in gpu.instances] == [("3g.40gb", 4, "MIG-1")]
    assert gpu.dynamic


def test_new_instances_are_for_who_may_make_them_and_wants_to() -> None:
    never = SETTINGS.model_copy(update={"mig_dynamic": False})
    assert not gpu_of(h100(mig_mode=True, carves=True), never).dynamic
    assert not gpu_of(h100(mig_mode=True, carves=False), SETTINGS).dynamic


def test_with_mig_off_a_gpu_is_whole() -> None:
    assert gpu_of(h100(mig_mode=False), SETTINGS).grid is None


@pytest.mark.parametrize(
    "device",
    [
        Device("GPU-2", "Unheard of", None, mig_mode=True),
        Device("GPU-2", "NVIDIA L4", 23034, key="l4", mig_mode=True),
        h100(usable=False),
    ],
    ids=["no catalogue entry", "an entry without a grid", "its driver says it is broken"],
)
def test_a_gpu_of_which_nobody_knows_what_is_free_is_given_to_nobody(device: Device) -> None:
    (machine,) = machines_of(Inventory(8, 64_000, [h100(), device]), SETTINGS)
    assert [gpu.uuid for gpu in machine.gpus] == ["GPU-1"]


def test_an_instance_that_is_held_stays_held_when_hidden_places_are_guessed_anew() -> None:
    def look(*numbers: int) -> Machine:
        there = tuple(MigDevice(f"MIG-{number}", "1g.10gb", number=number) for number in numbers)
        return machines_of(Inventory(8, 64_000, [h100(mig_mode=True, instances=there)]), SETTINGS)[0]

    before, after = look(7, 8), look(8)
    ask = profiles([before], SETTINGS)["mig-1g.10gb"]
    board, given = Board([before]), list[Slice]()
    for _ in range(2):
        given += board.place(ask).slices
        board.take(given[-1:])
    assert not board.place(ask).verdict.allowed
    (kept,) = [piece for piece in given if piece.visible == "MIG-8"]
    later = Board([after], [kept])
    assert (later.count(ask), later.place(ask).verdict.allowed) == (0, False)
    later.give_back([kept])
    assert later.place(ask).slices[0].visible == "MIG-8"


def test_what_somebody_else_cut_takes_its_place() -> None:
    """A part of a 3g at 4, and an instance that this grid has no name for at 0: neither is anybody's to give."""
    there = (
        MigDevice("MIG-1", None, 4, 4, number=1),
        MigDevice("MIG-2", None, 4, 4, number=1),
        MigDevice(None, "9g.99gb", 0, 2, number=2),
    )
    (machine,) = machines_of(Inventory(8, 64_000, [h100(mig_mode=True, carves=True, instances=there)]), SETTINGS)
    assert machine.gpus[0].blocked == {0, 1, 4, 5, 6, 7}
    offered = profiles([machine], SETTINGS)
    counts = {name: Board([machine]).count(offered[f"mig-{name}"]) for name in ("1g.10gb", "2g.20gb", "3g.40gb")}
    assert counts == {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 0}
    starts = {piece.start for piece in Board([machine]).place(offered["mig-2g.20gb"]).slices}
    assert starts == {2}


def test_where_one_place_is_unknown_no_new_instance_is_promised() -> None:
    there = (MigDevice("MIG-1", "1g.10gb", 0, 1), MigDevice("MIG-2", None))
    assert not gpu_of(h100(mig_mode=True, carves=True, instances=there), SETTINGS).dynamic


async def test_a_campus_is_machines_with_links_and_instances(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, simulated_fleet="campus")
    settings.folder.create()
    place = SimulatedInventory(settings, lambda: datetime.now(UTC))
    machines = machines_of(await place.look(), settings)
    assert sum(len(one.gpus) for one in machines) == 24
    assert any(gpu.group for one in machines for gpu in one.gpus)
    assert any(gpu.grid and gpu.dynamic and not gpu.instances for one in machines for gpu in one.gpus)


def test_a_lease_is_shown_its_own_instance_and_never_the_whole_gpu_around_it() -> None:
    piece = {"cpu_cores": 1, "memory_mb": 1}
    made = {"device": "GPU-1", "mig": "1g.10gb", "start": 0, "visible": "MIG-1", **piece}
    planned = {"device": "GPU-1", "mig": "1g.10gb", "start": 1, "visible": None, **piece}
    lease = Lease(slices=[made, planned, {"device": "GPU-2", **piece}, {"device": "cpu", **piece}])
    assert admission.visible(lease) == ("MIG-1", "GPU-2")
    assert admission.devices(lease) == ("GPU-1", "GPU-2")


def test_a_whole_gpu_is_shared_as_the_settings_say_and_a_cut_one_is_not() -> None:
    shared = SETTINGS.model_copy(update={"gpu_sharing": "mps", "gpu_replicas": 3})
    assert (gpu_of(h100(mig_mode=False), shared).replicas, gpu_of(h100(mig_mode=False), shared).mps) == (3, True)
    assert gpu_of(h100(mig_mode=True), shared).replicas == 0
    assert gpu_of(h100(mig_mode=False), SETTINGS).replicas == 0

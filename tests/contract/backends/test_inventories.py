"""What every place says of what it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dure.errors import LANGUAGES
from dure_hub.backends.base import InventoryBackend
from tests.contract.backends.kit import Place


@contextmanager
def looking(place: Place) -> Iterator[InventoryBackend]:
    """An inventory that has not looked yet."""
    made = place.inventory()
    try:
        yield made
    finally:
        made.close()
        made.close()  # which is no error


async def test_the_first_look_is_whole(place: Place) -> None:
    """Nothing is ever given of the half of what there is, and nobody is told that there is nothing."""
    with looking(place) as inventory, looking(place) as other:
        first = await inventory.look()
        again, elsewhere = await inventory.look(), await other.look()
    assert not first.away
    assert first.cpu_cores > 0
    assert first.memory_mb > 0
    nodes = first.by_node()
    assert sum(node.cpu_cores for node in nodes) == first.cpu_cores
    assert [device for node in nodes for device in node.devices] == list(first.devices)
    for found in (again, elsewhere):
        assert [one.uuid for one in found.devices] == [one.uuid for one in first.devices]
        assert [one.name for one in found.by_node()] == [one.name for one in nodes]


async def test_where_there_is_no_gpu_it_says_why(place: Place) -> None:
    with looking(place) as inventory:
        found = await inventory.look()
    if found.devices:
        assert found.why_no_gpu is None
        assert all(device.usable or device.health for device in found.devices)
    else:
        assert found.why_no_gpu is not None
        assert set(found.why_no_gpu) == set(LANGUAGES)


async def test_what_is_not_known_of_its_use_is_not_zero(place: Place) -> None:
    with looking(place) as inventory:
        measures = await inventory.measure()
    for used in (measures.place.cpu_cores, measures.place.memory_mb):
        assert used is None or used > 0
    unknown = measures.own_of("GPU-of-nobody", "01J00000000000000000000000")
    assert (unknown.utilisation, unknown.memory_used_mb, unknown.most) == (None, None, 1.0)


async def test_who_cannot_ask_the_driver_says_that_and_not_that_all_is_well(place: Place) -> None:
    with looking(place) as inventory:
        health, found = await inventory.health(), await inventory.look()
    if health.present is None:
        assert (list(health.faults), dict(health.outsiders)) == ([], {})
    else:
        assert {one.uuid for one in health.present} == {one.uuid for one in found.devices}

"""A fleet that is not there: deterministic, marked as such, and cut like a real one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dure_hub.backends.base import Device, Feature, MigRefused, OwnUse
from dure_hub.backends.embedded import EmbeddedInventory, SimulatedInventory, choose
from dure_hub.backends.embedded.processes import marks
from dure_hub.catalogue.machine import MigInstance
from dure_hub.settings import FLEETS, Settings

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Hand:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def settings(data: Path, fleet: str = "campus") -> Settings:
    made = Settings(data=data, simulated_fleet=fleet, instance=os.urandom(6).hex())
    made.folder.create()
    return made


def inventory(data: Path, fleet: str = "campus", clock: Hand | None = None) -> SimulatedInventory:
    return SimulatedInventory(settings(data, fleet), clock or Hand())


async def cut(place: SimulatedInventory) -> Device:
    """An H100 with MIG on and nothing made on it."""
    devices = (await place.look()).devices
    return next(one for one in devices if one.mig_mode and not one.instances and "H100" in one.name)


@contextmanager
def holder(instance: str, visible: str, lease: str = "lease") -> Iterator[None]:
    """A process of ours that is shown these GPUs."""
    environment = {**os.environ, **marks(instance, lease, "job"), "CUDA_VISIBLE_DEVICES": visible}
    command = [sys.executable, "-c", "print(flush=True)\ninput()"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        try:
            assert started.stdout.readline() == b"\n"
            yield
        finally:
            started.kill()


@pytest.mark.parametrize(
    ("fleet", "count"),
    [
        ("workstation", {"4090": 2}),
        ("dgx-a100", {"A100": 8}),
        ("dgx-h100", {"H100": 8}),
        ("campus", {"H100": 8, "A100": 12, "4090": 4}),
    ],
)
async def test_a_preset_is_what_its_name_says(tmp_path: Path, fleet: str, count: dict[str, int]) -> None:
    seen = await inventory(tmp_path, fleet).look()
    assert seen.simulated
    assert seen.why_no_gpu is None
    assert {model: sum(model in one.name for one in seen.devices) for model in count} == count
    assert len(seen.devices) == sum(count.values())
    assert seen.cpu_cores == sum(node.cpu_cores for node in seen.nodes)
    assert seen.devices == tuple(device for node in seen.nodes for device in node.devices)
    for device in seen.devices:
        assert device.uuid.startswith("GPU-sim-")
        assert device.key
        assert device.memory_mb
    assert len({device.uuid for device in seen.devices}) == len(seen.devices)


def test_every_preset_is_there() -> None:
    assert set(FLEETS) == {"workstation", "dgx-a100", "dgx-h100", "campus"}


async def test_a_campus_has_pools_links_and_cut_gpus(tmp_path: Path) -> None:
    seen = await inventory(tmp_path).look()
    assert {node.pool for node in seen.nodes} == {"training", "inference", "development"}
    assert any(device.group for device in seen.devices)
    made = [one for device in seen.devices for one in device.instances]
    assert made
    assert all(one.uuid and one.uuid.startswith("MIG-sim-") and one.start is not None for one in made)
    for device in seen.devices:
        assert not (device.group and device.mig_mode), "with MIG on there is no NVLink"
        assert device.node in {node.name for node in seen.nodes}


async def test_two_processes_see_the_same_at_the_same_moment(tmp_path: Path) -> None:
    one, other = inventory(tmp_path), inventory(tmp_path)
    assert await one.look() == await other.look()
    first, second = await asyncio.gather(one.measure(), other.measure())
    assert dict(first.devices) == dict(second.devices)
    assert dict(first.instances) == dict(second.instances)


async def test_readings_move_with_the_clock_alone(tmp_path: Path) -> None:
    clock = Hand()
    place = inventory(tmp_path, "dgx-h100", clock)
    before, again = dict((await place.measure()).devices), dict((await place.measure()).devices)
    assert before == again
    clock.now += timedelta(seconds=40)
    after = (await place.measure()).devices
    for field in ("utilisation", "temperature_c", "power_w"):
        assert any(getattr(before[uuid], field) != getattr(after[uuid], field) for uuid in before), field


async def test_readings_stay_within_what_a_gpu_can_show(tmp_path: Path) -> None:
    clock = Hand()
    made = settings(tmp_path)
    place = SimulatedInventory(made, clock)
    devices = (await place.look()).devices
    shown = ",".join(one.uuid for one in devices[::2])
    with holder(made.instance, shown):
        for _ in range(5):
            clock.now += timedelta(seconds=777)
            read = await place.measure()
            for device in devices:
                reading = read.devices[device.uuid]
                assert reading.utilisation is None or 0 <= reading.utilisation <= 1
                assert reading.memory_used_mb is not None
                assert 0 <= reading.memory_used_mb <= (device.memory_mb or 0)
                assert 20 < (reading.temperature_c or 0) < 90
                assert 0 < (reading.power_w or 0) < 800


async def test_a_gpu_that_a_process_of_ours_is_shown_is_busy(tmp_path: Path) -> None:
    made = settings(tmp_path, "workstation")
    place = SimulatedInventory(made, Hand())
    first, second = (one.uuid for one in (await place.look()).devices)
    with holder(made.instance, first):
        read = await place.measure()
    busy, idle = read.devices[first], read.devices[second]
    assert (busy.utilisation or 0) > 0.05 >= (idle.utilisation or 0)
    assert (busy.memory_used_mb or 0) > 10 * (idle.memory_used_mb or 0)
    assert (busy.power_w or 0) > (idle.power_w or 0)
    assert set(read.leases) == {"lease"}, "what it uses of this machine is real"


async def test_each_holder_of_a_shared_gpu_has_a_part_of_its_own(tmp_path: Path) -> None:
    made = settings(tmp_path, "workstation")
    place = SimulatedInventory(made, Hand())
    first, second = (one.uuid for one in (await place.look()).devices)
    with (
        holder(made.instance, first, "ann"),
        holder(made.instance, f"{first},{second}", "ben"),
        holder(made.instance, "", "cho"),
    ):
        read = await place.measure()
    whole = read.devices[first]
    ann, ben = read.own_of(first, "ann"), read.own_of(first, "ben")
    assert ann == ben
    assert ann.utilisation is not None
    assert whole.utilisation is not None
    assert whole.memory_used_mb is not None
    assert 0.02 < ann.utilisation == ann.least == ann.most
    assert ann.utilisation + 0.001 >= whole.utilisation / 2 >= ann.utilisation - 0.001
    assert ann.memory_used_mb == whole.memory_used_mb // 2
    assert read.own_of(second, "ben").utilisation == read.devices[second].utilisation
    for device, lease in ((second, "ann"), (first, "cho")):
        assert read.own_of(device, lease) == OwnUse(0, 0.0, 0.0, 0.0)
    assert read.own_of(first, "nobody") == OwnUse(most=whole.utilisation)


async def test_as_on_the_real_ones_only_hopper_measures_its_instances(tmp_path: Path) -> None:
    place = inventory(tmp_path)
    read = await place.measure()
    for device in (await place.look()).devices:
        for one in device.instances:
            known = read.instances[one.uuid or ""].utilisation is not None
            assert known == ("H100" in device.name)
        if device.instances:
            assert (read.devices[device.uuid].utilisation is not None) == ("H100" in device.name)
    with pytest.raises(KeyError):
        read.devices["GPU-sim-nowhere"]


async def test_how_much_is_used_of_an_unknown_memory_is_unknown(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "nodes:\n  - {name: n, cpu_cores: 4, memory_gb: 16,\n"
        "     gpus: [{model: h100-nvl-94, mig: [4g.47gb@0]}, {model: h100-nvl-94, mig: [1g.12gb@0]}]}\n"
    )
    place = inventory(tmp_path / "data", str(file))
    whole, part = (await place.look()).devices
    read = await place.measure()
    for device, known in ((whole, False), (part, True)):
        assert (read.devices[device.uuid].memory_used_mb is not None) is known
        assert (read.instances[device.instances[0].uuid or ""].memory_used_mb is not None) is known


async def test_instances_are_made_kept_over_a_restart_and_removed(tmp_path: Path) -> None:
    place = inventory(tmp_path)
    device = await cut(place)
    made = await place.make(device.uuid, "3g.40gb", 4)
    assert await place.make(device.uuid, "3g.40gb", 4) == made, "what is there is taken as it is"
    await place.make(device.uuid, "1g.10gb", 0)

    async def there(where: SimulatedInventory) -> list[tuple[str | None, int | None, str | None]]:
        found = next(one for one in (await where.look()).devices if one.uuid == device.uuid)
        return [(one.profile, one.start, one.uuid) for one in found.instances]

    later = inventory(tmp_path)
    assert (await there(later))[0] == ("3g.40gb", 4, made.uuid)
    assert len(await there(place)) == 2
    await later.remove(device.uuid, made)
    await later.remove(device.uuid, made)
    assert [one[:2] for one in await there(place)] == [("1g.10gb", 0)]


@pytest.mark.parametrize(
    ("mig", "start", "word"),
    [("7g.80gb", 0, "4 to 7"), ("3g.40gb", 2, "only at 0, 4"), ("9g.99gb", 0, "1g.10gb")],
)
async def test_what_cannot_be_made_says_why(tmp_path: Path, mig: str, start: int, word: str) -> None:
    place = inventory(tmp_path)
    device = await cut(place)
    await place.make(device.uuid, "3g.40gb", 4)
    with pytest.raises(MigRefused) as refused:
        await place.make(device.uuid, mig, start)
    assert word in refused.value.text("en")
    assert refused.value.text("ko") != refused.value.text("en")


async def test_a_gpu_takes_one_instance_with_media_engines(tmp_path: Path) -> None:
    place = inventory(tmp_path)
    device = await cut(place)
    await place.make(device.uuid, "1g.10gb+me", 6)
    with pytest.raises(MigRefused, match="at most 1"):
        await place.make(device.uuid, "1g.10gb+me", 5)


async def test_an_instance_that_is_in_use_is_not_removed(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    place = SimulatedInventory(configured, Hand())
    device = await cut(place)
    made = await place.make(device.uuid, "1g.10gb", 6)
    with holder(configured.instance, str(made.uuid)), pytest.raises(MigRefused):
        await place.remove(device.uuid, made)
    await place.remove(device.uuid, made)


@pytest.mark.parametrize("fleet", ["workstation", "dgx-a100"])
async def test_where_mig_is_off_nothing_is_cut(tmp_path: Path, fleet: str) -> None:
    place = inventory(tmp_path, fleet)
    device = (await place.look()).devices[0]
    with pytest.raises(MigRefused):
        await place.make(device.uuid, "1g.10gb", 0)
    with pytest.raises(MigRefused):
        await place.remove("GPU-of-nobody", MigInstance("1g.10gb", 0))


async def test_ten_thousand_gpus_are_looked_at_in_no_time(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_text(
        "nodes:\n  - {name: 'n{n}', count: 1250, cpu_cores: 128, memory_gb: 1024,\n"
        "     gpus: [{model: h100-sxm-80, count: 8, nvlink: true}]}\n"
    )
    place = inventory(tmp_path, str(file))
    first = await place.look()
    assert len(first.devices) == 10_000
    assert await place.look() is first, "nothing is built anew where nothing changed"
    assert len((await place.measure()).devices) == 10_000


def test_the_setting_chooses_the_inventory(tmp_path: Path) -> None:
    simulated = choose(settings(tmp_path), Hand())
    assert isinstance(simulated, SimulatedInventory)
    assert Feature.GPU not in simulated.unsupported
    assert Feature.MIG not in simulated.unsupported
    assert isinstance(choose(Settings(data=tmp_path), Hand()), EmbeddedInventory)


def test_the_path_of_a_fleet_is_whole_and_a_preset_stays_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(simulated_fleet="mine.yaml").simulated_fleet == str(tmp_path / "mine.yaml")
    assert Settings(simulated_fleet="campus").simulated_fleet == "campus"

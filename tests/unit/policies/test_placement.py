"""Placement as tables, and one promise for every sequence: never more granted than there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.placement import Capacity, Slice, count, next_best, place, ranks
from tests.unit.policies.fleet import A100, H100, box, offered
from tests.unit.policies.grids import mig, spec


def cpu(n: int) -> list[Slice]:
    return [Slice("cpu", 0.5, 1024) for _ in range(n)]


@pytest.mark.parametrize(
    ("cores", "memory_mb", "held", "code"),
    [
        (8, 32768, 0, "fits"),
        (8, 32768, 15, "fits"),
        (8, 32768, 16, "no_cores_free"),
        (8, 2048, 2, "no_memory_free"),
        (8, 1023, 0, "never_fits"),
        (0, 32768, 0, "never_fits"),
    ],
)
def test_a_cpu_profile_is_counted_by_cores_and_memory(cores: int, memory_mb: int, held: int, code: str) -> None:
    machine = box(cores, memory_mb)
    placed = place(offered(machine)["cpu"], [machine], cpu(held))
    assert placed.verdict.code == code
    assert placed.slices == ((Slice("cpu", 0.5, 1024),) if code == "fits" else ())


def test_what_ever_fits_is_told_by_pool_whatever_is_held() -> None:
    trains = replace(box(8, 32768, h100=1), name="t", pool="training")
    machines = [trains, replace(box(8, 32768), name="d", pool="development")]
    whole = Capacity(machines)
    gpu, cpu_only = offered(trains)["gpu-full"], offered(trains)["cpu"]
    assert [whole.fits(gpu, pool) for pool in ("", "training", "development", "training")] == [
        True,
        True,
        False,
        True,
    ]
    assert [whole.fits(cpu_only, pool) for pool in ("", "development", "nowhere")] == [True, True, False]
    assert not Capacity([box(8, 1023)]).fits(cpu_only)


def test_a_gpu_comes_whole_with_its_share_of_the_machine() -> None:
    machine = box(8, 32768, h100=2)
    profile = offered(machine)["gpu-full"]
    assert (profile.gpu_model, profile.gpu_memory_mb, profile.gpus) == (H100, 81920, 1)
    first = place(profile, [machine], ())
    assert first.slices == (Slice("h0", 2.0, 8192),)
    second = place(profile, [machine], first.slices)
    assert second.slices == (Slice("h1", 2.0, 8192),)
    third = place(profile, [machine], [*first.slices, *second.slices])
    assert (third.verdict.allowed, third.verdict.code, third.verdict.facts["total"]) == (False, "no_gpu_free", 2)


def test_holders_of_cpu_never_use_up_the_share_of_a_free_gpu() -> None:
    machine = box(8, 32768, h100=2)
    profiles = offered(machine)
    held: list[Slice] = []
    while (placed := place(profiles["cpu"], [machine], held)).verdict.allowed:
        held += placed.slices
    assert len(held) == 8
    assert count(profiles["gpu-full"], [machine], held) == 2


def test_a_held_gpu_gives_nothing_back_to_cpu() -> None:
    machine = box(8, 32768, h100=2)
    profiles = offered(machine)
    held = place(profiles["gpu-full"], [machine], ()).slices
    assert count(profiles["cpu"], [machine], held) == count(profiles["cpu"], [machine], ()) == 8


def test_each_gpu_model_has_its_own_profile() -> None:
    machine = box(h100=1, a100=1)
    profiles = offered(machine)
    assert list(profiles) == ["gpu-full-nvidia-a100", "gpu-full-nvidia-h100", "cpu"]
    assert place(profiles["gpu-full-nvidia-a100"], [machine], ()).slices[0].device == "a0"
    assert profiles["gpu-full-nvidia-a100"].title == {"en": f"One {A100}", "ko": f"{A100} 1개"}


def test_the_next_best_is_the_nearest_that_is_free_now() -> None:
    machine = box(h100=1, a100=1)
    profiles = offered(machine)
    h100 = place(profiles["gpu-full-nvidia-h100"], [machine], ()).slices
    both = [*h100, *place(profiles["gpu-full-nvidia-a100"], [machine], h100).slices]
    assert next_best("gpu-full-nvidia-h100", profiles, [machine], h100) == "gpu-full-nvidia-a100"
    assert next_best("gpu-full-nvidia-h100", profiles, [machine], both) == "cpu"
    assert next_best("cpu", offered(box()), [box()], cpu(16)) is None
    assert next_best("unknown", profiles, [machine], ()) is None


def test_a_gpu_that_left_the_machine_leaves_its_holder_counted() -> None:
    machine = box(8, 32768)
    held = [Slice("gone", 4.0, 16384)]
    assert count(offered(machine)["cpu"], [machine], held) == 8


def test_a_slice_survives_its_row() -> None:
    piece = Slice("h0", 2.5, 100)
    assert Slice.from_json(piece.to_json()) == piece


@given(
    cores=st.integers(0, 64),
    memory_mb=st.integers(0, 1 << 18),
    h100=st.integers(0, 4),
    a100=st.integers(0, 4),
    asked=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60),
)
def test_never_more_is_granted_than_there_is(
    cores: int, memory_mb: int, h100: int, a100: int, asked: list[tuple[int, bool]]
) -> None:
    """Whatever is asked for and given back in whatever order."""
    machine = box(cores, memory_mb, h100, a100)
    profiles = list(offered(machine).values())
    leases: list[tuple[Slice, ...]] = []
    for which, give_back in asked:
        if give_back and leases:
            leases.pop(which % len(leases))
            continue
        profile = profiles[which % len(profiles)]
        held = [piece for lease in leases for piece in lease]
        free = count(profile, [machine], held)
        placed = place(profile, [machine], held)
        assert placed.verdict.allowed == (free > 0)
        if placed.verdict.allowed:
            leases.append(placed.slices)
            assert len(placed.slices) == max(profile.gpus, 1)
        held = [piece for lease in leases for piece in lease]
        devices = [piece.device for piece in held if piece.device != "cpu"]
        assert len(devices) == len(set(devices))
        assert set(devices) <= {gpu.uuid for gpu in machine.gpus}
        assert sum(piece.memory_mb for piece in held) <= machine.memory_mb
        assert sum(piece.cpu_cores for piece in held) <= machine.cores + 1e-6


def test_several_ranks_on_a_part_of_a_gpu_are_sent_to_whole_ones() -> None:
    offered_here = {
        one.name: one
        for one in (
            mig("1g.10gb", gpu_model=A100),
            spec("gpu-full", gpus=1, gpu_model=A100),
            spec("gpu-full-x4", gpus=4, gpu_model=A100),
            spec("h100-x2", gpus=2, gpu_model=H100),
            spec("cpu"),
        )
    }
    part = offered_here["mig-1g.10gb"]
    refused = ranks(part, 3, offered_here)
    assert (refused.allowed, refused.code, refused.facts["instead"]) == (False, "ranks_on_slice", "gpu-full-x4")
    assert ranks(part, 2, offered_here).facts["instead"] == "gpu-full-x4"
    assert ranks(part, 16, offered_here).facts["instead"] == "gpu-full-x4"
    assert ranks(part, 2, {part.name: part}).facts["instead"] is None
    assert ranks(part, 1, offered_here).allowed
    assert ranks(offered_here["gpu-full-x4"], 4, offered_here).allowed
    assert ranks(offered_here["cpu"], 4, offered_here).allowed

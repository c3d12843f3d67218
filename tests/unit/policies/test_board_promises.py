"""What the board promises for every sequence of asking and giving back: checked against the slices alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dure_hub.catalogue.machine import Gpu, Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from dure_hub.policies.slices import Slice, Wish
from tests.unit.policies.grids import A30, A100, cut, mig, node, spec

GPU = st.sampled_from(
    [
        lambda uuid: Gpu(uuid, "whole", 81920, group="nv"),
        lambda uuid: Gpu(uuid, "shared", 24576, replicas=4),
        lambda uuid: Gpu(uuid, "shared", 24576, replicas=6),
        lambda uuid: cut(uuid),
        lambda uuid: cut(uuid, ("3g.40gb", 0), ("1g.10gb", 4)),
        lambda uuid: cut(uuid, ("3g.40gb", 0), ("2g.20gb", 4), ("1g.10gb+me", 6), dynamic=False),
        lambda uuid: cut(uuid, grid=A30),
    ]
)
PROFILES: Sequence[ProfileSpec] = (
    spec("cpu", 0.5, 512),
    spec("whole", 2, 2048, gpus=1, gpu_model="whole"),
    spec("pair", 4, 4096, gpus=2, gpu_model="whole"),
    spec("any", 1, 1024, gpus=1),
    spec("two of any", 1, 1024, gpus=2),
    spec("quarter", 1, 512, share=250, sharing="time-slice", gpu_model="shared"),
    spec("4Q", 0.7, 700, share=166, sharing="time-slice", gpu_model="shared"),
    spec("16Q", 1, 1024, share=667, sharing="time-slice", gpu_model="shared"),
    *(mig(one.name, cores=0.3, memory_mb=333) for grid in (A100, A30) for one in grid.profiles),
)


@st.composite
def fleets(draw: st.DrawFn) -> list[Machine]:
    nodes = []
    for number in range(draw(st.integers(1, 3))):
        gpus = [make(f"{number}-{n}") for n, make in enumerate(draw(st.lists(GPU, max_size=4)))]
        cores, memory_mb = draw(st.integers(0, 16)), draw(st.integers(0, 16384))
        pool = draw(st.sampled_from(["", "training"]))
        nodes.append(node(*gpus, name=f"n{number}", cores=cores, memory_mb=memory_mb, pool=pool))
    return nodes


WISHES = st.builds(
    Wish,
    team=st.sampled_from([None, "red", "blue"]),
    pool=st.sampled_from(["", "training", "inference"]),
    apart=st.frozensets(st.sampled_from(["n0", "n1", "0-0", "1-1"])),
)
# a place in the list, and whether to give something back first; shares and whole GPUs come as often as MIG
WHICH = st.one_of(st.integers(0, 7), st.integers(8, len(PROFILES) - 1))
STEPS = st.lists(st.tuples(WHICH, st.integers(0, 3).map(lambda one: one == 0), WISHES), max_size=40)


@settings(max_examples=150, deadline=None)
@given(machines=fleets(), steps=STEPS)
def test_nothing_is_ever_held_twice_or_where_it_must_not_be(
    machines: list[Machine], steps: list[tuple[int, bool, Wish]]
) -> None:
    board = Board(machines)
    leases: list[tuple[Slice, ...]] = []
    for which, give_back, wish in steps:
        if give_back and leases:
            board.give_back(leases.pop(which % len(leases)))
            continue
        profile = PROFILES[which % len(PROFILES)]
        placed = board.place(profile, wish)
        assert placed.verdict.allowed == bool(placed.slices) == (board.count(profile, wish) > 0), profile.name
        assert placed.verdict.facts["total"] == Board(machines).count(profile, wish)
        if placed.verdict.allowed:
            agrees(profile, wish, placed.slices, machines)
            board.take(placed.slices)
            leases.append(placed.slices)
            legal(machines, [piece for lease in leases for piece in lease])
    # what was kept between decisions is what a fresh look finds
    held = [piece for lease in leases for piece in lease]
    for profile in PROFILES:
        fresh = Board(machines, held)
        assert board.place(profile).verdict.code == fresh.place(profile).verdict.code
        assert board.count(profile) == fresh.count(profile)


def agrees(profile: ProfileSpec, wish: Wish, slices: tuple[Slice, ...], machines: list[Machine]) -> None:
    """The slices are what the profile says, on one node of the pool."""
    assert len(slices) == max(profile.gpus, 1)
    assert sum(piece.memory_mb for piece in slices) == profile.memory_mb
    assert abs(sum(piece.cpu_cores for piece in slices) - profile.cpu_cores) < 1e-9
    (name,) = {piece.node for piece in slices}
    place = next(machine for machine in machines if machine.name == name)
    assert not wish.pool or place.pool in {"", wish.pool}
    gpus = {gpu.uuid: gpu for gpu in place.gpus}
    for piece in slices:
        assert piece.mig == profile.mig
        assert (piece.device == "cpu") == (not profile.gpus and not profile.mig and not profile.share)
        if piece.device != "cpu" and profile.gpu_model:
            assert gpus[piece.device].model == profile.gpu_model


def legal(machines: list[Machine], held: list[Slice]) -> None:
    """Every rule, counted anew from what is held."""
    for machine in machines:
        here = [piece for piece in held if piece.node == machine.name]
        assert sum(piece.cpu_cores for piece in here) <= machine.cores + 1e-6
        assert sum(piece.memory_mb for piece in here) <= machine.memory_mb
        for gpu in machine.gpus:
            holders = [piece for piece in here if piece.device == gpu.uuid]
            if gpu.grid is not None:
                cut_legally(gpu, holders)
            elif len(holders) > 1 or any(piece.share < 1000 for piece in holders):
                assert all(piece.share < 1000 for piece in holders)
                assert sum(piece.share for piece in holders) <= 1000
                assert len(holders) <= gpu.replicas
                assert len({piece.team for piece in holders}) == 1


def cut_legally(gpu: Gpu, holders: list[Slice]) -> None:
    """No two instances overlap, each start is legal, `+me` is there once, and fixed GPUs have what they have."""
    assert gpu.grid is not None
    units: Counter[int] = Counter()
    for piece in holders:
        assert piece.mig is not None
        assert piece.start is not None
        profile = gpu.grid.named(piece.mig)
        assert profile is not None
        assert piece.start in profile.starts
        units.update(range(piece.start, piece.start + profile.size))
        if not gpu.dynamic:
            assert (piece.mig, piece.start) in {(one.profile, one.start) for one in gpu.instances}
    assert max(units.values(), default=0) <= 1
    assert sum(piece.mig == "1g.10gb+me" for piece in holders) <= 1

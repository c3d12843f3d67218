"""The MIG grids, against what is known of the hardware."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dure_hub.catalogue import gpus, grids
from dure_hub.catalogue.mig import MigGrid

GRIDS = sorted({model.grid for model in gpus.MODELS if model.grid is not None}, key=lambda grid: grid.name)
Cut = frozenset[tuple[int, int, int]]


def states(grid: MigGrid, names: set[str]) -> tuple[set[Cut], set[Cut]]:
    """Every way to cut a GPU into these, and those ways to which nothing can be added: by trying all of them."""
    pieces = [
        (one.driver_id, start, start + one.size)
        for one in grid.profiles
        if one.name in names
        for start in one.starts
    ]
    seen: set[Cut] = set()
    full: set[Cut] = set()
    todo: list[Cut] = [frozenset()]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        more = [
            state | {piece}
            for piece in pieces
            if all(piece[2] <= first or last <= piece[1] for _, first, last in state)
        ]
        todo += more
        if not more:
            full.add(state)
    return seen, full


BASE = {"1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"}


@pytest.mark.parametrize(
    ("grid", "names", "reachable", "maximal"),
    [
        (grids.A100_80, BASE, 298, 19),
        (grids.H100_80, BASE, 298, 19),
        (grids.A100_80, BASE | {"1g.20gb"}, 723, 78),
        (grids.A30, {"1g.6gb", "2g.12gb", "4g.24gb"}, 26, 5),
    ],
)
def test_a_grid_has_as_many_cuts_as_the_hardware(
    grid: MigGrid, names: set[str], reachable: int, maximal: int
) -> None:
    seen, full = states(grid, names)
    assert (len(seen), len(full)) == (reachable, maximal)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_every_start_is_inside_and_every_id_is_used_once(grid: MigGrid) -> None:
    ids = [one.driver_id for one in grid.profiles]
    assert len(ids) == len(set(ids))
    assert len({one.name for one in grid.profiles}) == len(ids)
    for one in grid.profiles:
        assert all(start >= 0 and start + one.size <= grid.units for start in one.starts)
        assert all(first < second for first, second in pairwise(one.starts))
        assert one.limit <= len(one.starts)
        assert grid.by_driver_id(one.driver_id) is grid.named(one.name) is one


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_media_engines_are_given_to_one_instance(grid: MigGrid) -> None:
    assert all(one.limit == 1 for one in grid.profiles if one.extra in {"+me", "+me.all"})


def test_a_1g_never_starts_at_the_last_unit_and_a_2g_never_at_6() -> None:
    one, two = grids.H100_80.named("1g.10gb"), grids.H100_80.named("2g.20gb")
    assert one is not None
    assert one.starts == (0, 1, 2, 3, 4, 5, 6)
    assert two is not None
    assert two.starts == (0, 2, 4)


def test_a_3g_takes_half_of_the_memory() -> None:
    """Simulated drivers that circulate say 3 units; the hardware says 4."""
    three = grids.H100_80.named("3g.40gb")
    assert three is not None
    assert (three.size, three.starts) == (4, (0, 4))
    double = grids.H100_80.named("1g.20gb")
    assert double is not None
    assert (double.compute, double.size) == (1, 2)

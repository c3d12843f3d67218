"""The state graph of a grid against figures that were found by brute force."""

from __future__ import annotations

import pytest

from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.policies.mig import MigGraph, State, graph, in_the_way
from tests.unit.policies.grids import A30, A100, cut, only

BASE = ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")
PARTS = ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb")


def placements(grid: MigGrid) -> set[frozenset[tuple[str, int]]]:
    """Every set of instances that can be reached from an empty GPU."""
    cuts = MigGraph(grid)
    found: set[frozenset[tuple[str, int]]] = set()
    todo: list[tuple[frozenset[tuple[str, int]], State]] = [(frozenset(), cuts.empty)]
    while todo:
        made, state = todo.pop()
        if made in found:
            continue
        found.add(made)
        todo += [(made | {(name, start)}, after) for name, start, after in cuts.ways(state)]
    return found


def full(grid: MigGrid) -> list[frozenset[tuple[str, int]]]:
    """Those to which nothing can be added."""
    cuts = MigGraph(grid)
    return [made for made in placements(grid) if not list(cuts.ways(cuts.held(made)))]


@pytest.mark.parametrize(
    ("grid", "states", "maximal"),
    [(only(A100, *BASE), 298, 19), (only(A100, *BASE, "1g.20gb"), 723, 78), (A30, 26, 5)],
)
def test_there_are_as_many_placements_as_brute_force_finds(grid: MigGrid, states: int, maximal: int) -> None:
    assert len(placements(grid)) == states
    assert len(full(grid)) == maximal


def test_no_placement_overlaps_or_starts_where_it_must_not() -> None:
    for made in placements(A100):
        units: list[int] = []
        for name, start in made:
            profile = A100.named(name)
            assert profile is not None
            assert start in profile.starts
            units += range(start, start + profile.size)
        assert len(units) == len(set(units))
        assert max(units, default=0) < A100.units
        assert sum(name.endswith("+me") for name, _ in made) <= 1


@pytest.mark.parametrize(
    ("name", "best", "left"), [("1g.10gb", 6, 14), ("1g.20gb", 6, 14), ("2g.20gb", 4, 12), ("3g.40gb", 4, 10)]
)
def test_the_best_first_start_leaves_most_placements_open(name: str, best: int, left: int) -> None:
    cuts = graph(only(A100, *PARTS))
    open_after = {
        start: len(list(cuts.ways(cuts.after(cuts.empty, name, start)))) for start in cuts.starts(cuts.empty, name)
    }
    assert open_after[best] == left == max(open_after.values())
    assert [start for start, number in open_after.items() if number == left] == [best]


def test_a_limit_is_shared_by_all_of_one_extra_kind() -> None:
    grid = MigGrid(
        "two with media engines",
        4,
        (
            MigProfile("1g+me", 21, 1, 1, (0, 1, 2, 3), 1, extra="+me"),
            MigProfile("2g+me", 6, 2, 2, (0, 2), 1, extra="+me"),
            MigProfile("1g", 14, 1, 1, (0, 1, 2, 3), 4),
        ),
    )
    cuts = graph(grid)
    state = cuts.after(cuts.empty, "1g+me", 0)
    assert cuts.starts(state, "2g+me") == ()
    assert (cuts.count(cuts.empty, "1g+me"), cuts.count(state, "1g+me"), cuts.count(state, "1g")) == (1, 0, 3)


def test_what_the_grid_does_not_know_holds_the_whole_gpu() -> None:
    cuts = graph(A100)
    assert cuts.held([("1g.5gb", 0)]) == cuts.full
    assert cuts.held([("1g.10gb", None)]) == cuts.full
    assert not list(cuts.ways(cuts.full))


def test_only_instances_in_the_interval_are_in_the_way() -> None:
    gpu = cut("a", ("3g.40gb", 0), ("1g.10gb", 4), ("2g.20gb", 4), ("1g.10gb", 6))
    assert [(one.profile, one.start) for one in in_the_way(gpu, "2g.20gb", 4)] == [("1g.10gb", 4)]
    assert in_the_way(gpu, "3g.40gb", 0) == ()
    assert len(in_the_way(gpu, "7g.80gb", 0)) == 4

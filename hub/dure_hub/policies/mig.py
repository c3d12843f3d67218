"""How a GPU with MIG can still be cut: the exact graph of states of one grid.

A state is which memory units are held, and how often each capped MIG profile is (the grid's `limit`, where that
is fewer than would fit: `+me` comes once a GPU). Nothing is approximated: a grid has some thousand states at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from dure_hub.catalogue.machine import Gpu, MigInstance
from dure_hub.catalogue.mig import MigGrid, MigProfile, apart

State = tuple[int, tuple[int, ...]]
"""Held memory units as bits, and how many are held of each capped kind."""


class MigGraph:
    """The states of one grid and the ways from one to the next."""

    def __init__(self, grid: MigGrid) -> None:
        self.grid = grid
        self.names = tuple(profile.name for profile in grid.profiles)
        self._profiles = {profile.name: profile for profile in grid.profiles}
        limits = grid.caps()
        self._caps = {kind: (place, limit) for place, (kind, limit) in enumerate(limits.items())}
        self.empty: State = (0, (0,) * len(limits))
        self.full: State = ((1 << grid.units) - 1, tuple(limits.values()))
        self._starts: dict[tuple[State, str], tuple[int, ...]] = {}

    def starts(self, state: State, name: str) -> tuple[int, ...]:
        """Every legal start of this MIG profile that overlaps nothing held."""
        key = (state, name)
        found = self._starts.get(key)
        if found is None:
            profile = self._profiles.get(name)
            found = ()
            if profile is not None and self._left(state, profile) > 0:
                found = tuple(start for start in profile.starts if not state[0] & _bits(start, profile.size))
            self._starts[key] = found
        return found

    def after(self, state: State, name: str, start: int) -> State:
        """The state once this instance is held too. What the grid does not know holds everything."""
        profile = self._profiles.get(name)
        if profile is None:
            return self.full
        counts = list(state[1])
        cap = self._caps.get(profile.kind)
        if cap is not None:
            counts[cap[0]] += 1
        return state[0] | _bits(start, profile.size), tuple(counts)

    def blocked(self, units: Iterable[int]) -> State:
        """The state in which these memory units are taken, by whatever it is."""
        return sum(1 << unit for unit in set(units)), self.empty[1]

    def held(self, instances: Iterable[tuple[str, int | None]], begin: State | None = None) -> State:
        """The state in which these (MIG profile, start) are held beside those of `begin`. An unknown start holds
        everything.
        """
        state = self.empty if begin is None else begin
        for name, start in instances:
            state = self.full if start is None else self.after(state, name, start)
        return state

    def count(self, state: State, name: str) -> int:
        """How many of this MIG profile can still be held at once, if nothing else is."""
        profile = self._profiles.get(name)
        if profile is None:
            return 0
        return min(apart(self.starts(state, name), profile.size), max(self._left(state, profile), 0))

    def free(self, state: State) -> int:
        """Memory units that nobody holds."""
        return self.grid.units - state[0].bit_count()

    def size(self, name: str) -> int:
        """Memory units of a MIG profile; 0 if the grid does not know it."""
        profile = self._profiles.get(name)
        return profile.size if profile is not None else 0

    def ways(self, state: State) -> Iterator[tuple[str, int, State]]:
        """Every (MIG profile, start) that may come next, with the state it leads to."""
        for name in self.names:
            for start in self.starts(state, name):
                yield name, start, self.after(state, name, start)

    def _left(self, state: State, profile: MigProfile) -> int:
        cap = self._caps.get(profile.kind)
        return profile.limit if cap is None else cap[1] - state[1][cap[0]]


@lru_cache(maxsize=64)
def graph(grid: MigGrid) -> MigGraph:
    """The graph of a grid, made once. Hashing a grid takes a while: ask once per kind of GPU."""
    return MigGraph(grid)


def in_the_way(gpu: Gpu, name: str, start: int) -> tuple[MigInstance, ...]:
    """The instances of this GPU that must be removed before this one can be made; not the same one itself."""
    profile = gpu.grid.named(name) if gpu.grid is not None else None
    if gpu.grid is None or profile is None:
        return ()
    wanted = _bits(start, profile.size)
    found = []
    for instance in gpu.instances:
        other = gpu.grid.named(instance.profile)
        if (instance.profile, instance.start) == (name, start):
            continue
        if other is None or wanted & _bits(instance.start, other.size):
            found.append(instance)
    return tuple(found)


def _bits(start: int, size: int) -> int:
    return ((1 << size) - 1) << start

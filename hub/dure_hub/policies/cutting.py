"""How a GPU is cut as an administrator says: which MIG instances go, which come, and where. Exact, by search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.policies.mig import MigGraph, State, graph

Place = tuple[str, int]
"""A MIG profile's name, and its first memory unit."""
Wanted = tuple[str, int | None]
"""The same, where the start may be left open."""


@dataclass(frozen=True)
class Cut:
    """What to remove and what to make, in this order; `places` is all there is then, as it was asked for."""

    places: tuple[Place, ...]
    remove: tuple[Place, ...]
    make: tuple[Place, ...]


@dataclass(frozen=True)
class Held:
    """The first that is held and would be gone."""

    place: Place


@dataclass(frozen=True)
class NoRoom:
    """The first that does not fit beside those before it: its legal starts, and what is taken then."""

    profile: MigProfile
    taken: tuple[Place, ...]


def cut(
    grid: MigGrid,
    wanted: Sequence[Wanted],
    there: Sequence[Place],
    held: Sequence[Place],
    blocked: Iterable[int] = (),
) -> Cut | Held | NoRoom:
    """Cut a GPU into exactly `wanted`. What is `held` (there already, or still to be made) stays where it is.

    What is there and wanted is kept, whoever has it. Every name must be one of the grid's. On the memory units
    that are `blocked` lies what nobody may remove.
    """
    fixed = _fix(wanted, held)
    if isinstance(fixed, Held):
        return fixed
    search = _Search(graph(grid), there, blocked)
    # what is held is taken before anything else, so it is in the list for as long as the others are tried
    order = sorted(range(len(wanted)), key=lambda number: (number not in fixed, number))
    asked = [(wanted[number][0], fixed.get(number, wanted[number][1])) for number in order]
    found = search.fit(asked)
    if found is None:
        fits = next(count for count in range(len(asked) - 1, -1, -1) if search.fit(asked[:count]) is not None)
        profile = grid.named(asked[fits][0])
        assert profile is not None  # noqa: S101 - what the caller promised
        return NoRoom(profile, tuple(sorted(search.fit(asked[:fits]) or (), key=lambda place: place[1])))
    by_number = dict(zip(order, found, strict=True))
    places = tuple(by_number[number] for number in range(len(wanted)))
    remove = tuple(place for place in there if place not in places)
    return Cut(places, remove, tuple(place for place in places if place not in there and place not in held))


def _fix(wanted: Sequence[Wanted], held: Sequence[Place]) -> dict[int, int] | Held:
    """Which of the wanted ones are those held: those that name the start first, then any of the name."""
    fixed: dict[int, int] = {}
    for place in held:
        for start in (place[1], None):
            number = next((n for n, one in enumerate(wanted) if n not in fixed and one == (place[0], start)), None)
            if number is not None:
                fixed[number] = place[1]
                break
        else:
            return Held(place)
    return fixed


class _Search:
    """Finds starts for all of a list, first those where such an instance is already."""

    def __init__(self, states: MigGraph, there: Sequence[Place], blocked: Iterable[int]) -> None:
        self._states, self._there, self._empty = states, frozenset(there), states.blocked(blocked)
        self._dead: set[tuple[State, tuple[Wanted, ...]]] = set()

    def fit(self, asked: Sequence[Wanted]) -> list[Place] | None:
        """The starts, in the order of the list; None where there are none."""
        # the largest first: they have the fewest starts; who names a start has one
        order = sorted(
            range(len(asked)), key=lambda n: (asked[n][1] is None, -self._states.size(asked[n][0]), asked[n][0], n)
        )
        found = self._go(self._empty, tuple(asked[number] for number in order))
        if found is None:
            return None
        by_number = dict(zip(order, found, strict=True))
        return [by_number[number] for number in range(len(asked))]

    def _go(self, state: State, asked: tuple[Wanted, ...]) -> list[Place] | None:
        if not asked:
            return []
        if (state, asked) in self._dead:
            return None
        (name, start), rest = asked[0], asked[1:]
        starts = [one for one in self._states.starts(state, name) if start in (None, one)]
        for one in sorted(starts, key=lambda at: ((name, at) not in self._there, at)):
            found = self._go(self._states.after(state, name, one), rest)
            if found is not None:
                return [(name, one), *found]
        self._dead.add((state, asked))
        return None


def parse(text: str) -> Wanted:
    """`3g.40gb@4` or `3g.40gb`."""
    name, _, start = text.partition("@")
    return name, int(start) if start else None

"""Cutting a GPU as asked: kept, removed, made, and refused with what is in the way."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure_hub.catalogue.grids import A100_80
from dure_hub.policies.cutting import Cut, Held, NoRoom, Place, Wanted, cut, parse

NAMES = sorted({profile.name for profile in A100_80.profiles})


def wanted(*texts: str) -> list[Wanted]:
    return [parse(text) for text in texts]


def units(place: Place) -> set[int]:
    profile = A100_80.named(place[0])
    assert profile is not None
    assert place[1] in profile.starts
    return set(range(place[1], place[1] + profile.size))


@pytest.mark.parametrize(
    ("asked", "there", "held", "remove", "make"),
    [
        (["1g.10gb"] * 7, [], [], [], [("1g.10gb", start) for start in range(7)]),
        # what is there and wanted is kept where it is, the rest goes
        (["3g.40gb"], [("3g.40gb", 4), ("1g.10gb", 0)], [], [("1g.10gb", 0)], []),
        ([], [("3g.40gb", 4)], [], [("3g.40gb", 4)], []),
        # held stays, whichever of the list it is
        (["3g.40gb", "3g.40gb@0"], [("3g.40gb", 4)], [("3g.40gb", 4)], [], [("3g.40gb", 0)]),
        # held and not made yet: its place is kept, and whoever carves makes it
        (["1g.10gb", "4g.40gb"], [], [("1g.10gb", 4)], [], [("4g.40gb", 0)]),
        # a start that is named counts
        (["1g.10gb@3"], [("1g.10gb", 0)], [], [("1g.10gb", 0)], [("1g.10gb", 3)]),
        # nothing to do
        (["3g.40gb@4"], [("3g.40gb", 4)], [], [], []),
    ],
)
def test_what_goes_and_what_comes(
    asked: list[str], there: list[Place], held: list[Place], remove: list[Place], make: list[Place]
) -> None:
    found = cut(A100_80, wanted(*asked), there, held)
    assert isinstance(found, Cut)
    assert list(found.remove) == remove
    assert sorted(found.make) == sorted(make)
    assert [name for name, _ in found.places] == [parse(text)[0] for text in asked]


def test_what_is_held_must_be_in_the_list() -> None:
    assert cut(A100_80, wanted("1g.10gb"), [], [("3g.40gb", 4)]) == Held(("3g.40gb", 4))
    assert cut(A100_80, wanted("3g.40gb@0"), [], [("3g.40gb", 4)]) == Held(("3g.40gb", 4))


def test_the_first_that_does_not_fit_is_named_with_what_is_taken() -> None:
    found = cut(A100_80, wanted("4g.40gb", "1g.10gb", "3g.40gb", "2g.20gb"), [], [])
    assert isinstance(found, NoRoom)
    assert found.profile.name == "3g.40gb"
    assert {name for name, _ in found.taken} == {"4g.40gb", "1g.10gb"}


def test_a_profile_of_which_a_gpu_takes_one_is_refused_twice() -> None:
    found = cut(A100_80, wanted("1g.10gb+me", "1g.10gb+me"), [], [])
    assert isinstance(found, NoRoom)
    assert found.profile.limit == 1


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=5))
def test_it_fits_exactly_where_some_choice_of_starts_does(asked: list[str]) -> None:
    profiles = [A100_80.named(name) for name in asked]
    limits = [(one.extra or one.name, one.limit) for one in profiles if one is not None]
    allowed = all([kind for kind, _ in limits].count(kind) <= limit for kind, limit in limits)
    choices = itertools.product(
        *([(one.name, start) for start in one.starts] for one in profiles if one is not None)
    )
    fits = allowed and any(
        all(units(a).isdisjoint(units(b)) for a, b in itertools.combinations(choice, 2)) for choice in choices
    )
    found = cut(A100_80, [(name, None) for name in asked], [], [])
    assert isinstance(found, Cut) == fits
    if isinstance(found, Cut):
        assert all(units(a).isdisjoint(units(b)) for a, b in itertools.combinations(found.places, 2))

"""Which profile is marked at first."""

from __future__ import annotations

import pytest

from dure_hub.policies.choice import Choice, memory_of, usual

CPU = Choice("cpu", 0, 10, True)
SMALL = Choice("small", 10_000, 100, True)
LARGE = Choice("large", 80_000, 800, True)
TWICE = Choice("large-x2", 160_000, 1600, True)
TAKEN = Choice("medium", 40_000, 400, False)
ALL = (TWICE, LARGE, TAKEN, SMALL, CPU)


@pytest.mark.parametrize(
    ("last", "marked"),
    [
        (None, "cpu"),
        ("cpu", "cpu"),
        ("small", "small"),
        ("medium", "medium"),  # it is waited for: what costs twice as much is not marked by itself
        ("large", "large"),
        ("large-x2", "large-x2"),
        ("gone", "cpu"),
    ],
)
def test_it_is_the_cheapest_with_as_much_memory_as_the_last_one(last: str | None, marked: str) -> None:
    assert usual(ALL, last) == marked


def test_a_cheaper_one_that_is_as_large_is_marked_in_its_place() -> None:
    assert usual((LARGE, Choice("bargain", 80_000, 700, False)), "large") == "bargain"


def test_at_one_price_the_last_one_itself_is_marked() -> None:
    same = Choice("alike", 80_000, 800, True)
    assert usual((same, LARGE), "large") == "large"
    unpriced = [Choice(name, 80_000, None, True) for name in "ab"]
    assert usual(unpriced, "b") == "b"


def test_what_cannot_be_compared_is_the_last_one_itself() -> None:
    unknown = Choice("unknown", None, 1, False)
    assert usual((*ALL, unknown), "unknown") == "unknown"
    assert usual((LARGE, Choice("cheap", None, 1, True)), "large") == "large"


def test_without_a_last_one_what_is_free_comes_first() -> None:
    full = Choice("cpu", 0, 10, False)
    assert usual((LARGE, SMALL, full), None) == "small"
    assert usual((TAKEN, full), None) == "cpu", "where nothing is free, the cheapest"
    assert usual((), None) is None


def test_memory_is_that_of_all_its_gpus() -> None:
    assert memory_of(4, 1000, True) == 4000
    assert memory_of(0, 1000, True) == 1000
    assert memory_of(0, None, True) is None
    assert memory_of(0, None, False) == 0

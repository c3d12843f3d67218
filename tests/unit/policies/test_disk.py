"""Whether there is room."""

from __future__ import annotations

import pytest

from dure_hub.policies.disk import MIB, Room, enough, lets_go, takes

ALL = 1000 * MIB


@pytest.mark.parametrize(
    ("free", "percent", "minimum_mb", "fits"),
    [(50, 5, 0, True), (49, 5, 0, False), (500, 5, 501, False), (500, 5, 500, True), (0, 0, 0, True)],
)
def test_both_bounds_count(free: int, percent: float, minimum_mb: int, fits: bool) -> None:
    assert enough([Room("data", free * MIB, ALL)], percent, minimum_mb).allowed is fits


def test_the_fullest_is_named_and_never_rounded_up() -> None:
    rooms = [Room("data", 40 * MIB, ALL), Room("artifacts", 1 * MIB - 1, ALL), Room("c", ALL, ALL)]
    verdict = enough(rooms, 5, 0)
    assert (verdict.code, verdict.facts["place"]) == ("disk_low", "artifacts")
    assert (verdict.facts["free_percent"], verdict.facts["free_mb"]) == (0.0, 0)


def test_a_disk_of_no_size_is_no_division() -> None:
    assert Room("data", 0, 0).percent == 0
    assert enough([Room("data", 0, 0)], 5, 0).allowed


def test_the_reserve_goes_when_it_is_needed_and_comes_back_only_where_starts_stay_allowed() -> None:
    assert lets_go(31 * MIB, 64 * MIB)
    assert not lets_go(32 * MIB, 64 * MIB)
    assert takes(114 * MIB, ALL, 64 * MIB, 5, 0)
    assert not takes(113 * MIB, ALL, 64 * MIB, 5, 0)
    assert not takes(60 * MIB, ALL, 64 * MIB, 0, 0)

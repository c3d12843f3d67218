"""What could have cost less: with its arithmetic, and only where use was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dure_hub.policies.cost import HOUR_US
from dure_hub.policies.recommend import IDLE, SMALLER, Holding, Offer, recommend

OFFERS = {
    offer.profile: offer
    for offer in (
        Offer("gpu-full", "h100", 81920, 8_000_000, 1.0),
        Offer("mig-3g.40gb", "h100", 40960, 4_000_000, 3 / 7),
        Offer("mig-2g.20gb", "h100", 20480, 2_480_000, 2 / 7),
        Offer("mig-1g.10gb", "h100", 10240, 1_240_000, 1 / 7),
        Offer("other", "a100", 10240, 100, 1.0),
        Offer("unpriced", "h100", 40960, None, 1.0),
        Offer("cpu", "", None, 0, None),
    )
}


def holding(**more: object) -> Holding:
    us = 41 * HOUR_US
    base = Holding("ann", "mig-3g.40gb", us, 164_000_000, us, us, us * 9 // 10, 4505)
    return replace(base, **more)  # type: ignore[arg-type]


def test_a_smaller_profile_is_named_with_the_arithmetic() -> None:
    (found,) = recommend([holding(busy_us=10 * HOUR_US, known_us=41 * HOUR_US)], OFFERS | {})[:1]
    assert found.code in (SMALLER, IDLE)
    (found,) = recommend([holding(known_us=0, busy_us=0)], OFFERS)
    assert found.code == SMALLER
    assert found.facts == {
        "profile": "mig-3g.40gb",
        "hours": 41.0,
        "memory_max_mb": 4505,
        "memory_mb": 40960,
        "memory_percent": 11,
        "busy_percent": None,
        "instead": "mig-1g.10gb",
        "instead_memory_mb": 10240,
        "instead_rate": 1_240_000,
        "cost": 164_000_000,
        "would_cost": 50_840_000,
        "saved": 113_160_000,
        "saved_percent": 69,
    }


def test_compute_that_was_used_must_be_there_too() -> None:
    assert recommend([holding()], OFFERS) == []
    (found,) = recommend([holding(busy_us=41 * HOUR_US * 6 // 10)], OFFERS)
    assert found.facts["instead"] == "mig-2g.20gb"


@pytest.mark.parametrize(
    ("memory_mb", "instead"),
    [(8192, "mig-1g.10gb"), (8193, "mig-2g.20gb"), (16384, "mig-2g.20gb"), (16385, None), (None, None)],
)
def test_memory_that_was_used_fits_with_room(memory_mb: int | None, instead: str | None) -> None:
    found = recommend([holding(memory_max_mb=memory_mb, known_us=0, busy_us=0)], OFFERS)
    assert (found[0].facts["instead"] if found else None) == instead


@pytest.mark.parametrize(
    "more",
    [
        {"held_us": 3 * HOUR_US},
        {"cost": 0},
        {"seen_us": 20 * HOUR_US, "known_us": 20 * HOUR_US, "busy_us": 0},
        {"profile": "gone", "busy_us": 41 * HOUR_US},
        {"cost": 51_000_000, "known_us": 0, "busy_us": 0},
    ],
)
def test_nothing_is_said_where_little_was_held_paid_measured_or_saved(more: dict[str, object]) -> None:
    assert recommend([holding(**more)], OFFERS) == []


def test_what_was_held_and_idle_is_told_in_hours_and_money() -> None:
    us = 40 * HOUR_US
    (found,) = recommend([Holding("ann", "gone", us, 320_000_000, us, us // 2, us // 8)], OFFERS)
    assert (found.code, found.saved) == (IDLE, 120_000_000)
    assert found.facts["busy_percent"] == 25
    assert (found.facts["measured_hours"], found.facts["idle_hours"]) == (20.0, 15.0)


def test_the_largest_saving_comes_first() -> None:
    few, more = holding(known_us=0, busy_us=0), holding(owner="bob", known_us=0, busy_us=0, cost=200_000_000)
    assert [one.owner for one in recommend([few, more], OFFERS)] == ["bob", "ann"]

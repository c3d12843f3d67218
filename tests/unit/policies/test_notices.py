"""When people are warned, and how often a sending is tried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies import notices

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left_min", "whole_min", "expected"),
    [
        (61, 480, None),
        (60, 480, 60),
        (11, 480, 60),
        (10, 480, 10),
        (1.5, 480, 10),
        (1, 480, 1),
        (0, 480, None),
        (-1, 480, None),
        (30, 30, None),
        (10, 30, 10),
        (10, 10, None),
        (5, 10, None),
        (1, 10, 1),
    ],
)
def test_the_smallest_step_that_is_reached(left_min: float, whole_min: int, expected: int | None) -> None:
    assert notices.step(timedelta(minutes=left_min), timedelta(minutes=whole_min)) == expected


@pytest.mark.parametrize(("left_s", "expected"), [(301, False), (300, True), (1, True), (0, False)])
def test_a_place_is_about_to_pass_in_its_last_third(left_s: int, expected: bool) -> None:
    assert notices.passing(NOW + timedelta(seconds=left_s), timedelta(seconds=900), NOW) is expected


def test_tries_come_less_and_less_often_and_end_after_a_day() -> None:
    at, tries, waits = NOW, 1, []
    while (again := notices.next_try(tries, NOW, at)) is not None:
        waits.append((again - at).total_seconds())
        at, tries = again, tries + 1
        assert tries < 100
    assert waits[:8] == [30, 60, 120, 240, 480, 960, 1920, 3600]
    assert set(waits[8:]) == {3600}
    assert at - NOW <= timedelta(days=1) < at - NOW + timedelta(hours=1)

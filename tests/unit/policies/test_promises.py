"""What a person is told of a start, at first and later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.promises import extension, in_danger, latest, spends_reserve, told

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GIVES_UP = NOW + timedelta(hours=24)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("start", "promised"),
    [
        (None, None),
        (NOW, at(30)),
        (at(-9), at(30)),
        (at(100), at(155)),
        (at(100.1), at(156)),
    ],
)
def test_a_promise_leaves_room_for_what_nobody_can_know(start: datetime | None, promised: datetime | None) -> None:
    assert latest(start, NOW) == promised


@pytest.mark.parametrize(
    ("promised", "start", "said"),
    [
        (None, at(100), at(155)),
        (None, None, None),
        (None, at(1400), None),  # it gives up before
        (at(90), at(10), at(90)),  # what was said stays, though it may be sooner
        (at(90), at(90), at(90)),
        (at(90), at(100), at(155)),  # it can no longer be kept, and is said anew
        (at(90), None, at(90)),
        (at(-1), None, None),
        (at(-1), at(10), at(43)),
        (at(90), at(1400), None),
    ],
)
def test_what_was_told_stays_for_as_long_as_it_can_be_kept(
    promised: datetime | None, start: datetime | None, said: datetime | None
) -> None:
    assert told(promised, start, NOW, GIVES_UP) == said


def test_a_promise_is_in_danger_before_it_is_broken() -> None:
    promised = latest(at(100), NOW)
    assert promised is not None
    assert not in_danger(promised, at(100), NOW)
    assert in_danger(promised, at(101), NOW)
    assert in_danger(promised, None, NOW)
    assert not in_danger(promised, at(100), at(50)), "time alone endangers nothing"


@pytest.mark.parametrize(("start", "spends"), [(at(75), False), (at(76), True), (at(-1), False), (None, True)])
def test_a_part_of_the_time_is_kept_in_reserve(start: datetime | None, spends: bool) -> None:
    assert spends_reserve(at(100), start, NOW) is spends


def test_an_extension_that_puts_others_off_is_refused_with_what_is_left() -> None:
    assert extension(at(60), at(60), []).allowed
    verdict = extension(at(90), at(60), [at(85), at(70)])
    assert (verdict.allowed, verdict.code) == (False, "others_wait")
    assert verdict.facts == {
        "asked": "2026-01-01T01:30:00Z",
        "waiting": 2,
        "first": "2026-01-01T01:10:00Z",
        "latest": "2026-01-01T01:00:00Z",
    }

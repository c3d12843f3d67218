"""Bounds, and an inclusive end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.lifetime import extension, is_expired, latest_end, lifetime, waited_too_long

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "allowed", "code", "seconds"),
    [
        (None, True, "default_lifetime", 28800),
        (300, True, "lifetime_as_asked", 300),
        (299, False, "lifetime_too_short", 300),
        (86400, True, "lifetime_as_asked", 86400),
        (86401, False, "lifetime_too_long", 86400),
    ],
)
def test_lifetimes_are_bounded(asked: int | None, allowed: bool, code: str, seconds: int) -> None:
    verdict, got = lifetime(asked, default_s=28800, max_s=86400)
    assert (verdict.allowed, verdict.code, got) == (allowed, code, seconds)


def test_the_default_is_never_beyond_the_longest() -> None:
    assert lifetime(None, default_s=900, max_s=600)[1] == 600


@pytest.mark.parametrize(
    ("until", "over"),
    [(None, False), (NOW + timedelta(seconds=1), False), (NOW, True), (NOW - timedelta(seconds=1), True)],
)
def test_the_end_is_inclusive(until: datetime | None, over: bool) -> None:
    assert is_expired(until, NOW) is over


@pytest.mark.parametrize(("waited_s", "over"), [(99, False), (100, True), (-5, False)])
def test_a_request_may_wait_so_long(waited_s: int, over: bool) -> None:
    assert waited_too_long(NOW - timedelta(seconds=waited_s), 100, NOW) is over


UNTIL = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("asked", "allowed", "code"),
    [
        (UNTIL, True, "end_as_is"),
        (UNTIL + timedelta(seconds=1), True, "end_moved"),
        (NOW + timedelta(hours=24), True, "end_moved"),
        (NOW + timedelta(hours=24, seconds=1), False, "end_too_late"),
        (UNTIL - timedelta(seconds=1), False, "end_too_early"),
        (NOW - timedelta(days=1), False, "end_too_early"),
    ],
)
def test_an_end_moves_to_a_later_time_within_the_longest_lifetime(
    asked: datetime, allowed: bool, code: str
) -> None:
    verdict = extension(asked, UNTIL, max_s=86400, now=NOW)
    assert (verdict.allowed, verdict.code) == (allowed, code)


@pytest.mark.parametrize(
    ("asked", "code"),
    [("9999-12-31T23:59:59-12:00", "end_too_late"), ("0001-01-01T00:00:00+12:00", "end_too_early")],
)
def test_the_ends_of_the_calendar_are_refused_like_any_other_time(asked: str, code: str) -> None:
    verdict = extension(datetime.fromisoformat(asked), UNTIL, max_s=86400, now=NOW)
    assert (verdict.code, verdict.facts["asked"]) == (code, asked)


def test_an_end_that_has_passed_is_not_moved_into_the_past() -> None:
    verdict = extension(NOW - timedelta(seconds=1), NOW - timedelta(hours=1), max_s=86400, now=NOW)
    assert verdict.facts["earliest"] == "2026-01-01T00:00:00Z"


def test_later_the_same_lease_may_be_extended_further() -> None:
    """The bound is counted from the moment of asking, so long work goes on for as long as somebody asks."""
    far = NOW + timedelta(hours=30)
    assert extension(far, UNTIL, max_s=86400, now=NOW).code == "end_too_late"
    assert extension(far, UNTIL + timedelta(hours=20), max_s=86400, now=NOW + timedelta(hours=7)).allowed


def test_the_latest_end_is_never_before_the_present_one() -> None:
    assert latest_end(UNTIL, max_s=60, now=NOW) == UNTIL
    assert latest_end(UNTIL, max_s=7200, now=NOW) == NOW + timedelta(hours=2)

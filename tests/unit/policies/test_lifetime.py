"""Bounds, and an inclusive end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.lifetime import is_expired, lifetime

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

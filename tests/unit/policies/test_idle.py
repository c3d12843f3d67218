"""Unused for how long, and over when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.idle import idle, idle_end

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRACE_S = 120


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("active_at", "timeout_s", "over", "code"),
    [
        (ago(3599), 3600, False, "in_use"),
        (ago(3600), 3600, False, "in_use"),
        (ago(3600 + GRACE_S - 1), 3600, False, "in_use"),
        (ago(3600 + GRACE_S), 3600, True, "idle"),
        (ago(9999), 3600, True, "idle"),
        (ago(-60), 3600, False, "in_use"),
        (None, 3600, False, "not_seen_yet"),
        (ago(10**8), 0, False, "never_idle"),
    ],
)
def test_idleness_is_a_span_without_use(active_at: datetime | None, timeout_s: int, over: bool, code: str) -> None:
    verdict = idle(active_at, timeout_s, NOW, GRACE_S)
    assert (verdict.allowed, verdict.code) == (over, code)


def test_the_verdict_says_for_how_long() -> None:
    assert idle(ago(4000), 3600, NOW, GRACE_S).facts == {"idle_s": 4000, "timeout_s": 3600}


@pytest.mark.parametrize(
    ("active_at", "timeout_s", "end"),
    [(NOW, 60, NOW + timedelta(seconds=60)), (NOW, 0, None), (None, 60, None)],
)
def test_the_end_is_known_only_where_there_is_one(
    active_at: datetime | None, timeout_s: int, end: datetime | None
) -> None:
    assert idle_end(active_at, timeout_s) == end

"""When a schedule is due, as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dure_hub.policies.cron import judge, next_after

WINTER = datetime(2026, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("* * * * *", "UTC", "2026-01-01T00:00:00", ["2026-01-01T00:01", "2026-01-01T00:02"]),
        ("* * * * *", "UTC", "2026-01-01T00:00:59.999", ["2026-01-01T00:01"]),
        ("30 6 * * *", "UTC", "2026-01-01T06:30", ["2026-01-02T06:30"]),
        ("0 9 * * mon-fri", "Asia/Seoul", "2026-01-02T00:00", ["2026-01-05T00:00", "2026-01-06T00:00"]),
        ("0 9 1 * *", "Asia/Seoul", "2026-01-31T23:59", ["2026-02-01T00:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00"]),
        ("0 0 13 * fri", "UTC", "2026-01-01T00:00", ["2026-01-02T00:00"]),  # either day, as cron reads it
        # 29 March 2026: at two o'clock the clocks of Berlin go to three. What was due in between is due then.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30", ["2026-03-29T02:00", "2026-03-29T04:00"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30", ["2026-03-29T01:00", "2026-03-29T01:30"]),
        # 25 October 2026: at three they go back to two. What is due in that hour is due once.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", ["2026-10-26T01:30"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-25T01:00", "2026-10-25T01:30"]),
    ],
)
def test_the_next_times_are_those_of_debians_cron(cron: str, zone: str, after: str, due: list[str]) -> None:
    now = at(after)
    for wanted in due:
        found = next_after(cron, zone, now)
        assert found == at(wanted)
        assert found.tzinfo is UTC
        now = found
    assert judge(cron, zone, now).allowed


@pytest.mark.parametrize(
    ("cron", "zone", "code", "facts"),
    [
        ("* * * *", "UTC", "cron_fields", {"count": 4}),
        ("0 * * * * *", "UTC", "cron_fields", {"count": 6}),
        ("@daily", "UTC", "cron_fields", {"count": 1}),
        ("", "UTC", "cron_fields", {"count": 0}),
        ("60 * * * *", "UTC", "cron_field", {"field": "minute", "value": "60"}),
        ("* 24 * * *", "UTC", "cron_field", {"field": "hour", "value": "24"}),
        ("* * 0 * *", "UTC", "cron_field", {"field": "day-of-month", "value": "0"}),
        ("* * * 13 *", "UTC", "cron_field", {"field": "month", "value": "13"}),
        ("* * * * someday", "UTC", "cron_field", {"field": "day-of-week", "value": "someday"}),
        ("*/0 * * * *", "UTC", "cron_field", {"field": "minute", "value": "*/0"}),
        ("5-1 * * * *", "UTC", "cron_field", {"field": "minute", "value": "5-1"}),
        ("² * * * *", "UTC", "cron_field", {"field": "minute", "value": "²"}),
        ("0 0 30 2 *", "UTC", "cron_never", {}),
        ("0 0 31 4,6 *", "Asia/Seoul", "cron_never", {}),
        ("* * * * *", "Europe/Seoul", "no_such_timezone", {"timezone": "Europe/Seoul"}),
        ("* * * * *", "Europe", "no_such_timezone", {}),
        ("* * * * *", "../../etc/passwd", "no_such_timezone", {}),
        ("* * * * *", "/etc/localtime", "no_such_timezone", {}),
        ("* * * * *", "x\x00", "no_such_timezone", {}),
    ],
)
def test_what_is_wrong_is_named(cron: str, zone: str, code: str, facts: dict[str, Any]) -> None:
    verdict = judge(cron, zone, WINTER)
    assert (verdict.allowed, verdict.code) == (False, code)
    assert {name: verdict.facts[name] for name in facts} == facts


def test_what_has_no_zone_or_never_comes_has_no_next_time() -> None:
    assert next_after("0 0 30 2 *", "UTC", WINTER) is None
    with pytest.raises(ValueError, match="no time zone"):
        next_after("* * * * *", "Europe/Seoul", WINTER)

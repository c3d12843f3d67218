"""When something ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.ends import End, end

LOOKED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return LOOKED - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("ago_s", "ran", "expected"),
    [
        (90.5, None, End(ago(90.5))),  # somebody saw it
        (None, None, End(LOOKED)),
        (-5, None, End(LOOKED)),  # a clock that was set back
        (9999, None, End(ago(3600))),  # never before it was granted
        (60, 100, End(ago(100), 40)),  # the machine was booted a minute ago, and it ran before that
        (60, 100.25, End(ago(100.25), 41)),
        (None, 4, End(ago(4), 4)),
        (60, 30, End(ago(60))),  # what is known of both agrees on nothing better
        (None, 9999, End(ago(3600), 3600)),
    ],
)
def test_an_end_is_exact_or_says_how_uncertain_it_is(
    ago_s: float | None, ran: float | None, expected: End
) -> None:
    assert end(LOOKED, ago(3600), ago_s, None if ran is None else ago(ran)) == expected

"""Ends that came while nobody was there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.waking import (
    AWAY,
    LEAPT,
    SLEPT,
    Gap,
    end_after,
    gap,
    promise_after,
    use_after,
    waits_after,
)

WAKE = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOTICE = timedelta(minutes=10)
YEAR_S = 365 * 86400
times = st.integers(-YEAR_S, YEAR_S).map(lambda s: WAKE + timedelta(seconds=s))
spans = st.integers(0, YEAR_S).map(lambda s: timedelta(seconds=s))


@pytest.mark.parametrize(
    ("between_s", "counted_s", "asleep_s", "cause"),
    [
        (60, 60, 0, None),  # a slow machine
        (61, 61, 0, AWAY),  # this process was frozen, or could not write
        (7200, 5, 7195, SLEPT),
        (7200, 5, 0, LEAPT),  # a guest that was paused, or a clock that was set
        (7200, None, None, AWAY),  # somebody else looked last
        (-7200, 5, 0, None),  # a clock that was set back
    ],
)
def test_a_gap_says_why_nobody_looked(
    between_s: int, counted_s: float | None, asleep_s: float | None, cause: str | None
) -> None:
    last = WAKE - timedelta(seconds=between_s)
    found = gap(last, WAKE, counted_s=counted_s, asleep_s=asleep_s)
    assert found == (None if cause is None else Gap(last, WAKE, cause))


def test_before_the_first_look_there_is_no_gap() -> None:
    assert gap(None, WAKE) is None


@given(times, spans)
def test_no_end_comes_before_the_notice_is_over_and_none_earlier_than_it_was(
    end: datetime, notice: timedelta
) -> None:
    moved = end_after(end, WAKE, notice)
    assert moved is not None
    assert moved >= WAKE + notice
    assert moved >= end
    assert moved in (end, WAKE + notice), "nothing is given beyond the notice"
    assert end_after(moved, WAKE, notice) == moved, "once is enough"


def test_what_has_no_end_gets_none() -> None:
    assert end_after(None, WAKE, NOTICE) is None


@given(times.filter(lambda used: used <= WAKE), spans, spans.filter(bool))
def test_idleness_ends_nothing_before_the_notice_or_its_own_timeout(
    used: datetime, notice: timedelta, timeout: timedelta
) -> None:
    counted = use_after(used, WAKE, notice, timeout)
    assert used <= counted <= WAKE, "nobody is said to have used it later than now"
    assert counted + timeout >= WAKE + min(notice, timeout)
    assert use_after(counted, WAKE, notice, timeout) == counted


@given(times, times.filter(lambda since: since < WAKE))
def test_the_time_of_a_gap_is_no_waiting_time(asked: datetime, slept_at: datetime) -> None:
    found = Gap(slept_at, WAKE, SLEPT)
    since = waits_after(asked, found)
    if asked <= slept_at:
        assert WAKE - since == slept_at - asked, "as long as before the gap"
    else:
        assert since == max(asked, WAKE)


@given(st.lists(times, min_size=2), times.filter(lambda since: since < WAKE), st.booleans())
def test_promises_keep_their_order(promised: list[datetime], slept_at: datetime, moved: bool) -> None:
    found = Gap(slept_at, WAKE, AWAY)
    after = [promise_after(one, found, moved, NOTICE) for one in sorted(promised)]
    assert after == sorted(after)
    assert all(late - early >= found.length for early, late in zip(sorted(promised), after, strict=True))

"""Money adds up: over windows, over groups, and to lease seconds times rates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.cost import HOUR_US, By, Held, Seen, cost, days, grouped, month, summed, total

START = datetime(2026, 1, 1, tzinfo=UTC)
CENT = 10_000  # micro-units
US = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
SEOUL = ZoneInfo("Asia/Seoul")
MONTH_US = 31 * 24 * HOUR_US


def held(
    hours: float = 1, rate: int | None = 8_000_000, since: datetime = START, seen: tuple[Seen, ...] = ()
) -> Held:
    return Held("l", "ann", "red", None, "gpu-full", "notebook", rate, since, since + hours * HOUR, 1, seen)


@st.composite
def lease(draw: st.DrawFn) -> Held:
    """Any lease of a month, with what may have been seen of it."""
    since = draw(st.integers(0, MONTH_US))
    us = draw(st.integers(0, 5 * 24 * HOUR_US))
    begun = START + since * US
    hour = begun.replace(minute=0, second=0, microsecond=0)
    seen = []
    for number in range(draw(st.integers(0, 4))):
        known = draw(st.integers(0, HOUR_US))
        seen.append(Seen(hour + number * HOUR, known, draw(st.integers(0, known))))
    return Held(
        lease="l",
        owner=draw(st.sampled_from(["ann", "bob"])),
        team=draw(st.sampled_from([None, "red", "blue"])),
        project=draw(st.sampled_from([None, "p"])),
        profile=draw(st.sampled_from(["cpu", "gpu-full"])),
        purpose=draw(st.sampled_from(["notebook", "serving"])),
        rate=draw(st.one_of(st.none(), st.integers(0, 64_000_000))),
        since=begun,
        until=draw(st.sampled_from([None, begun + us * US])),
        gpus=draw(st.integers(0, 8)),
        seen=tuple(seen),
    )


cuts = st.lists(st.integers(0, 40 * 24 * HOUR_US), min_size=2, max_size=8).map(sorted)


@given(st.lists(lease(), max_size=12), cuts, st.sampled_from(get_args(By)), st.integers(0, MONTH_US))
def test_money_is_lease_seconds_times_rates_to_the_cent_however_it_is_cut_and_grouped(
    leases: list[Held], points: list[int], by: By, clock: int
) -> None:
    now = START + clock * US
    windows = [(START + a * US, START + b * US) for a, b in pairwise(points)]
    whole = (windows[0][0], windows[-1][1])
    parts = [total(grouped(leases, a, b, now, by, SEOUL).values()) for a, b in windows]
    together = total(parts)
    exact = Fraction(0)
    unpriced = 0
    for one in leases:
        first = max(one.since, whole[0])
        last = min(now, whole[1], one.until or now)
        us = max((last - first) // US, 0)
        exact += Fraction(us * (one.rate or 0), HOUR_US)
        unpriced += us if one.rate is None else 0
    assert abs(together.cost - exact) < CENT
    assert together.cost == total(grouped(leases, *whole, now, by, UTC).values()).cost
    assert together.unpriced_us == unpriced
    for part in parts:
        assert part.busy_cost >= 0
        assert part.idle_cost >= 0
        assert part.unmeasured_cost >= 0
        assert part.busy_us <= part.known_us <= part.held_us


@given(lease(), cuts)
def test_windows_of_one_lease_add_up_to_the_micro_unit(one: Held, points: list[int]) -> None:
    now = START + 60 * 24 * HOUR
    if one.rate is None:
        assert cost(one, START, now, now) is None
        return
    ends = [one.since, *(one.since + point * US for point in points), now]
    pieces = [cost(one, a, b, now) or 0 for a, b in pairwise(ends)]
    life = ((one.until or now) - one.since) // US
    assert sum(pieces) == one.rate * life // HOUR_US


def test_what_is_to_come_has_cost_nothing_yet() -> None:
    running = Held("l", "ann", None, None, "gpu-full", "serving", 6_000_000, START)
    assert cost(running, START, START + 9 * HOUR, START + HOUR) == 6_000_000
    assert cost(held(8), START, START + 9 * HOUR, START + HOUR) == 8_000_000


def test_an_unknown_rate_is_time_apart_and_no_cost_of_zero() -> None:
    found = summed(held(2, rate=None), START, START + HOUR, START + 3 * HOUR)
    assert (found.cost, found.unpriced_us, found.held_us) == (0, HOUR_US, HOUR_US)
    assert cost(held(2, rate=None), START, START + HOUR, START + HOUR) is None


def test_idle_while_held_is_apart_and_what_nobody_saw_is_neither_busy_nor_idle() -> None:
    seen = (Seen(START, HOUR_US, HOUR_US // 4), Seen(START + HOUR, HOUR_US // 2, HOUR_US // 2))
    found = summed(held(3, seen=seen), START, START + 3 * HOUR, START + 9 * HOUR)
    assert (found.busy_cost, found.idle_cost, found.unmeasured_cost) == (6_000_000, 6_000_000, 12_000_000)


def test_an_hour_cut_by_the_window_counts_in_proportion() -> None:
    one = held(1, seen=(Seen(START, HOUR_US // 2, HOUR_US // 4),))
    halves = [summed(one, START + n * HOUR / 2, START + (n + 1) * HOUR / 2, START + 9 * HOUR) for n in range(2)]
    assert [half.known_us for half in halves] == [HOUR_US // 4] * 2
    assert [half.busy_us for half in halves] == [HOUR_US // 8] * 2


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("user", {"ann"}),
        ("team", {"red"}),
        ("project", {None}),
        ("profile", {"gpu-full"}),
        ("day", {"2026-01-01"}),
    ],
)
def test_groups_are_named_by_what_they_share(by: By, groups: set[str | None]) -> None:
    assert set(grouped([held()], START, START + 9 * HOUR, START + 9 * HOUR, by, UTC)) == groups


def test_days_are_those_of_the_zone_also_where_clocks_are_moved() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, 23, tzinfo=UTC)
    pieces = days(start, start + 47 * HOUR, berlin)
    assert [(name, (b - a) / HOUR) for name, a, b in pieces] == [("2026-03-29", 23), ("2026-03-30", 24)]
    assert [name for name, _, _ in days(START, START + 24 * HOUR, SEOUL)] == ["2026-01-01", "2026-01-02"]


def test_a_month_ends_where_the_next_begins() -> None:
    assert month(datetime(2026, 12, 31, 23, tzinfo=UTC)) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )


def test_a_long_leases_hours_are_split_into_days_once() -> None:
    """400 days by day: each hour is looked at for the days it lies in, not once for each day of the window."""
    looked = 0

    class Watched(Seen):
        @property
        def known_us(self) -> int:
            nonlocal looked
            looked += 1
            return HOUR_US

        @known_us.setter
        def known_us(self, _: int) -> None:
            """Given in vain."""

    number = 400 * 24
    seen = tuple(Watched(START + n * HOUR, 0, 0) for n in range(number))
    one = held(number, seen=seen)
    found = grouped([one], START, START + number * HOUR, START + number * HOUR, "day", SEOUL)
    assert len(found) == 401
    assert total(found.values()).known_us == number * HOUR_US
    assert looked <= 5 * number

"""To the month's end: exact where rates are known, weekday by weekday where not, and as sure as it says."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.cost import Held, month
from dure_hub.policies.forecast import forecast

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)  # a Sunday
UNIT = 1_000_000


def lease(since: datetime, hours: float | None, rate: int | None = UNIT, planned_h: float | None = None) -> Held:
    """One with its end behind it; without `hours` it runs on, to `planned_h` or for ever."""
    until = None if hours is None else since + hours * HOUR
    planned = until if planned_h is None else since + planned_h * HOUR
    return Held("l", "ann", None, None, "p", "notebook", rate, since, until, planned=planned)


def weekdays(begin: datetime, days: int, work: float = 8, weekend: float = 0) -> list[Held]:
    found = []
    for number in range(days):
        day = begin + number * DAY
        hours = weekend if day.weekday() >= 5 else work
        if hours:
            found.append(lease(day + 9 * HOUR, hours))
    return found


@pytest.mark.parametrize("days", [0, 1, 2])
def test_less_than_three_whole_days_foretell_nothing_and_say_so(days: int) -> None:
    now = FIRST + days * DAY + 20 * HOUR
    found = forecast([lease(FIRST, 1)], now)
    assert (found.verdict.allowed, found.verdict.code) == (False, "too_few_days")
    assert found.verdict.facts == {"days": days, "needed": 3}
    assert (found.expected, found.low, found.high, found.spent) == (None, None, None, UNIT)


def test_a_first_day_cut_short_is_no_whole_day() -> None:
    assert forecast([lease(FIRST + HOUR, 1)], FIRST + 3 * DAY + HOUR).days == 2
    assert forecast([], FIRST + 9 * DAY).days == 0


def test_days_without_leases_are_data() -> None:
    found = forecast([lease(FIRST, 24)], FIRST + 12 * DAY)
    assert found.days == 12
    assert found.low == found.spent == 24 * UNIT


def test_weekends_cost_what_weekends_cost() -> None:
    """Sunday the 15th: a line through the days so far would miss that eight working days less are to come."""
    now = FIRST + 14 * DAY
    found = forecast(weekdays(FIRST - 28 * DAY, 42), now)
    assert found.spent == 10 * 8 * UNIT
    true = 22 * 8 * UNIT
    assert found.expected is not None
    assert abs(found.expected - true) < 0.06 * true
    assert abs(found.expected - true) < abs(found.spent * 31 / 14 - true) / 2 + 0.04 * true


def test_a_lease_without_an_end_is_arithmetic() -> None:
    now = FIRST + 10 * DAY
    found = forecast([lease(FIRST, None)], now)
    assert (found.spent, found.running) == (240 * UNIT, 21 * 24 * UNIT)
    assert found.expected == found.low == found.high == 31 * 24 * UNIT


def test_what_runs_to_a_planned_end_is_in_it_at_least() -> None:
    now = FIRST + 10 * DAY
    quiet = [lease(FIRST, 1)]
    busy = [*quiet, lease(now - HOUR, None, planned_h=49)]
    found, without = forecast(busy, now), forecast(quiet, now)
    assert found.expected is not None
    assert without.expected is not None
    assert 48 * UNIT <= found.expected - without.expected <= 52 * UNIT


def test_an_unknown_rate_is_in_no_figure() -> None:
    found = forecast([lease(FIRST, 200, rate=None)], FIRST + 10 * DAY)
    assert (found.spent, found.expected, found.days) == (0, 0, 10)


def test_nothing_is_below_what_was_spent() -> None:
    chance = random.Random(1)
    leases = [lease(FIRST + n * DAY, chance.choice([0.1, 20])) for n in range(5)]
    found = forecast(leases, FIRST + 5 * DAY)
    assert found.low is not None
    assert found.spent <= found.low


def test_about_four_of_five_months_end_within_the_interval_and_it_beats_a_line() -> None:
    inside, ours, line = 0, 0.0, 0.0
    tries = 300
    for seed in range(tries):
        chance = random.Random(seed)
        begin, end = FIRST - chance.randrange(7, 50) * DAY, month(FIRST)[1]
        leases = []
        day = begin
        while day < end:
            typical = 3 if day.weekday() >= 5 else 14
            leases.append(lease(day, min(max(chance.gauss(typical, 3), 0), 24)))
            day += DAY
        now = FIRST + chance.randrange(4, 25) * DAY
        true = sum(
            round(UNIT * (one.until - one.since) / HOUR) for one in leases if one.since >= FIRST and one.until
        )
        found = forecast([one for one in leases if one.since < now], now)
        assert found.low is not None
        assert found.high is not None
        assert found.expected is not None
        inside += found.low <= true <= found.high
        ours += abs(found.expected - true)
        line += abs(found.spent * 31 / ((now - FIRST) / DAY) - true)
    assert 0.7 <= inside / tries <= 0.92
    assert ours < 0.7 * line


def test_many_leases_take_little_time() -> None:
    leases = [lease(FIRST - 50 * DAY + n % 1400 * HOUR, 8) for n in range(20_000)]
    begun = time.perf_counter()
    assert forecast(leases, FIRST + 9 * DAY).days > 50
    assert time.perf_counter() - begun < 30  # a loop over all days for each would take minutes

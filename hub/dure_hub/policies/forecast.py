"""What a month will have cost at its end, with how sure that is. Months and days are those of the clock's zone.

Leases without an end go on at their rate: that part is arithmetic. The rest is expected to go on as on the days
behind us: each day as the mean of its weekday, drawn to the mean of all days by the weight of one day, and at
least what leases that run now will cost on it. The interval is that of the mean method (Hyndman and
Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.5): with a spread s of days around their
own means, for h days to come and n behind, s * sqrt(h + h^2/n), by Student's t. Four of five months of this kind
end within it as long as days are about independent of each other; a project that begins or ends is in no past day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dure_hub.policies.cost import Held, cost, month
from dure_hub.policies.verdict import Verdict

NEEDED = 3
"""Whole days of data below which nothing is foretold."""
HISTORY = timedelta(days=56)
"""So far back days are looked at: eight of each weekday."""
_DAY = timedelta(days=1)
_DRAWN = 1.0
"""The weight of the mean of all days beside a weekday's own, in days."""
_T90 = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372, 1.363, 1.356, 1.350, 1.345, 1.341)
"""The 90th percentile of Student's t for 1 to 15 degrees of freedom."""
_T90_MORE = 1.33


@dataclass(frozen=True)
class Forecast:
    """Micro-units. `running` is the part of leases without an end. None where there is too little to tell by."""

    verdict: Verdict
    spent: int
    running: int
    days: int
    expected: int | None = None
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class _Fit:
    """The mean day by weekday, and how far days lie from theirs."""

    days: Sequence[float]
    spread: float
    freedom: float
    number: int


def forecast(leases: Sequence[Held], now: datetime) -> Forecast:
    """To the end of the month that `now` is in. `leases` are those of this month and of `HISTORY` before now.

    Codes: `forecast`, `too_few_days`. Leases at an unknown rate are in no figure.
    """
    priced = [one for one in leases if one.rate is not None]
    first, end = month(now)
    spent = sum(cost(one, first, now, now) or 0 for one in priced)
    lasting = [one for one in priced if _lasts(one)]
    running = sum(cost(one, now, end, end) or 0 for one in lasting)
    daily = _daily([one for one in priced if not _lasts(one)], _first_day(leases, now), now)
    facts = {"days": len(daily), "needed": NEEDED}
    if len(daily) < NEEDED:
        return Forecast(Verdict.no("too_few_days", **facts), spent, running, len(daily))
    fit = _fit(daily)
    timed = [one for one in priced if one.until is None and one.planned is not None]
    to_come, ahead = 0.0, 0.0
    for start, last in _ahead(now, end):
        share = (last - start) / _DAY
        sure = sum(_planned(one, start, last) for one in timed)
        to_come += max(fit.days[start.weekday()] * share, sure)
        ahead += share
    expected = spent + running + to_come
    wide = _t90(fit.freedom) * fit.spread * math.sqrt(ahead + ahead * ahead / fit.number)
    return Forecast(
        Verdict.yes("forecast", **facts),
        spent,
        running,
        len(daily),
        round(expected),
        max(round(expected - wide), spent),
        round(expected + wide),
    )


def _lasts(one: Held) -> bool:
    return one.until is None and one.planned is None


def _first_day(leases: Sequence[Held], now: datetime) -> datetime:
    """The first midnight from which on there is data: leases, or days without any after the first of them."""
    today = _midnight(now)
    earliest = max(min((one.since for one in leases), default=now), today - HISTORY)
    day = _midnight(earliest.astimezone(now.tzinfo))
    return day if day == earliest else day + _DAY


def _daily(leases: Sequence[Held], first: datetime, now: datetime) -> Mapping[date, int]:
    """What each whole day cost. A day on which nothing was held is data too: it cost nothing."""
    today = _midnight(now)
    found = {(first + number * _DAY).date(): 0 for number in range((today - first) // _DAY)}
    for one in leases:
        day = max(_midnight(one.since.astimezone(now.tzinfo)), first)
        last = min(one.until or now, today)
        while day < last:
            found[day.date()] += cost(one, day, day + _DAY, now) or 0
            day += _DAY
    return found


def _fit(daily: Mapping[date, int]) -> _Fit:
    mean = sum(daily.values()) / len(daily)
    by_weekday: list[list[int]] = [[] for _ in range(7)]
    for day, spent in daily.items():
        by_weekday[day.weekday()].append(spent)
    means = [(sum(own) + _DRAWN * mean) / (len(own) + _DRAWN) for own in by_weekday]
    squares = sum((spent - means[day.weekday()]) ** 2 for day, spent in daily.items())
    # A day pulls its own mean towards itself: by so much fewer days the spread is judged (the trace of the hat).
    pulled = sum(len(own) * (1 + _DRAWN / len(daily)) / (len(own) + _DRAWN) for own in by_weekday)
    freedom = max(len(daily) - pulled, 1.0)
    return _Fit(means, math.sqrt(squares / freedom), freedom, len(daily))


def _ahead(now: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The rest of today, and every day after it to the month's end."""
    found = []
    start = now
    while start < end:
        last = min(_midnight(start) + _DAY, end)
        found.append((start, last))
        start = last
    return found


def _planned(one: Held, start: datetime, end: datetime) -> int:
    """What a lease that runs now costs in a time to come, if it is held to its planned end."""
    last = end if one.planned is None else min(end, one.planned)
    return (cost(one, start, last, last) or 0) if last > start else 0


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _t90(freedom: float) -> float:
    whole = int(freedom)
    return _T90[whole - 1] if whole <= len(_T90) else _T90_MORE

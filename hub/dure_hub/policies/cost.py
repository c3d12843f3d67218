"""What leases cost in a window of time: exact, in whole micro-units, so that the parts of a window add up to it.

A lease costs floor(rate x time since its grant) up to a moment; a window costs the difference of its two ends.
Any cutting of its life into windows therefore sums to the same, less than one micro-unit below rate x time. A rate
that is unknown is no cost of zero: its time is kept apart. Times are whole microseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Literal

HOUR_US = 3_600_000_000
_US = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
By = Literal["user", "team", "project", "profile", "purpose", "day"]


@dataclass(frozen=True)
class Seen:
    """What was seen of a lease in one hour: `known_us` with its utilisation said, `busy_us` of them at work."""

    hour: datetime
    known_us: int
    busy_us: int


@dataclass(frozen=True)
class Held:
    """A lease as money sees it. `until` is its end, None while it is held; `rate` is micro-units an hour.

    `planned` is when it is to end; None is a lease without an end. `gpus` counts thousandths of a GPU. `seen` is
    in the order of its hours. `paused` is time that is not charged, apart from each other and in order.
    """

    lease: str
    owner: str
    team: str | None
    project: str | None
    profile: str
    purpose: str
    rate: int | None
    since: datetime
    until: datetime | None = None
    gpus: int = 0
    seen: tuple[Seen, ...] = ()
    planned: datetime | None = None
    paused: tuple[tuple[datetime, datetime], ...] = ()


@dataclass
class Sum:
    """What some leases came to. Micro-units and microseconds.

    `cost` is busy, idle and unmeasured cost together; `unpriced_us` is time at an unknown rate, in none of these.
    `gpu_us` is charged time multiplied by the thousandths of GPUs that were held. Of `held_us`, `uncharged_us` is
    not charged, and in no other.
    """

    cost: int = 0
    busy_cost: int = 0
    idle_cost: int = 0
    held_us: int = 0
    gpu_us: int = 0
    unpriced_us: int = 0
    known_us: int = 0
    busy_us: int = 0
    uncharged_us: int = 0

    def add(self, other: Sum) -> None:
        """Take in another."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def unmeasured_cost(self) -> int:
        """Cost of time in which nobody knows how busy it was."""
        return self.cost - self.busy_cost - self.idle_cost


def micros(span: timedelta) -> int:
    """Whole microseconds."""
    return span // _US


def price(rate: int, us: int) -> int:
    """What so much time costs, rounded down to a micro-unit."""
    return rate * us // HOUR_US


def overlap(held: Held, start: datetime, end: datetime, now: datetime) -> tuple[int, int]:
    """From where to where of its own life a lease lies in [start, end), in microseconds since its grant.

    One that is held counts until `now`: what is to come has cost nothing yet.
    """
    last = now if held.until is None else min(held.until, now)
    first = max(start, held.since)
    return micros(first - held.since), max(micros(min(end, last) - held.since), micros(first - held.since))


def charged(held: Held, us: int) -> int:
    """How much of the first `us` microseconds of a lease's life is charged: all but where it was paused."""
    spans = ((micros(since - held.since), micros(until - held.since)) for since, until in held.paused)
    return us - sum(max(min(until, us) - max(since, 0), 0) for since, until in spans)


def apart(spans: Iterable[tuple[datetime, datetime]]) -> tuple[tuple[datetime, datetime], ...]:
    """The same time as spans that do not meet, in order. What ends before it begins is none."""
    found: list[tuple[datetime, datetime]] = []
    for since, until in sorted(spans):
        if until <= since:
            continue
        if found and since <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((since, until))
    return tuple(found)


def cost(held: Held, start: datetime, end: datetime, now: datetime) -> int | None:
    """What one lease costs in [start, end), up to `now`; None where its rate is unknown."""
    if held.rate is None:
        return None
    first, last = (charged(held, us) for us in overlap(held, start, end, now))
    return price(held.rate, last) - price(held.rate, first)


def summed(held: Held, start: datetime, end: datetime, now: datetime) -> Sum:
    """One lease in one window.

    How busy it was is known by the hour; of an hour that the window cuts it counts in proportion.
    """
    begin, over = overlap(held, start, end, now)
    held_us = over - begin
    if not held_us:
        return Sum()
    first, last = charged(held, begin), charged(held, over)
    charged_us = last - first
    known_us, busy_us = _measured(held, start, end, now)
    known_us = min(known_us, charged_us)
    busy_us = min(busy_us, known_us)
    whole = Sum(held_us=held_us, gpu_us=charged_us * held.gpus, known_us=known_us, busy_us=busy_us)
    whole.uncharged_us = held_us - charged_us
    if held.rate is None:
        whole.unpriced_us = charged_us
        return whole
    whole.cost = price(held.rate, last) - price(held.rate, first)
    # Both are rounded down on their own, and cost may be one less than rate x time of the window.
    whole.busy_cost = min(price(held.rate, busy_us), whole.cost)
    whole.idle_cost = min(price(held.rate, known_us - busy_us), whole.cost - whole.busy_cost)
    return whole


def grouped(
    leases: Iterable[Held], start: datetime, end: datetime, now: datetime, by: By, zone: tzinfo
) -> dict[str | None, Sum]:
    """The same by group; a day is `2026-01-31` of `zone`. None is the group of who has no team or project."""
    found: dict[str | None, Sum] = {}
    cuts = days(start, end, zone) if by == "day" else [(None, start, end)]
    ends = [cut[2] for cut in cuts]
    for held in leases:
        for day, first, last in _touched(cuts, ends, held, now):
            part = summed(held, first, last, now)
            if part.held_us:
                found.setdefault(day if by == "day" else key(held, by), Sum()).add(part)
    return found


def key(held: Held, by: By) -> str | None:
    """The group of a lease."""
    names: Mapping[str, str | None] = {
        "user": held.owner,
        "team": held.team,
        "project": project(held.team, held.project),
        "profile": held.profile,
        "purpose": held.purpose,
    }
    return names[by]


def project(team: str | None, name: str | None) -> str | None:
    """A project is inside a team: `vision/segmentation`; without a team it is its owner's own affair."""
    return name if team is None or name is None else f"{team}/{name}"


def total(sums: Iterable[Sum]) -> Sum:
    """All of them together."""
    whole = Sum()
    for part in sums:
        whole.add(part)
    return whole


def days(start: datetime, end: datetime, zone: tzinfo) -> list[tuple[str, datetime, datetime]]:
    """The window cut at the midnights of a zone, each piece with its date. A day there may have 23 or 25 hours."""
    found = []
    at = start
    while at < end:
        date = at.astimezone(zone).date()
        # a midnight is made from its date: adding 24 hours would miss it where clocks are moved
        after = datetime.combine(date + timedelta(days=1), time(), zone).astimezone(start.tzinfo)
        found.append((date.isoformat(), at, min(after, end)))
        at = after
    return found


def month(at: datetime) -> tuple[datetime, datetime]:
    """The month of a time, from its first moment to that of the next, in the zone of the time."""
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, (first + timedelta(days=32)).replace(day=1)


def _touched(
    cuts: Sequence[tuple[str | None, datetime, datetime]], ends: Sequence[datetime], held: Held, now: datetime
) -> Iterator[tuple[str | None, datetime, datetime]]:
    """The pieces of the window that a lease lies in; to look at each day for each lease would be too much."""
    last = held.until or now
    for number in range(bisect_right(ends, held.since), len(cuts)):
        if cuts[number][1] >= last:
            return
        yield cuts[number]


def _measured(held: Held, start: datetime, end: datetime, now: datetime) -> tuple[int, int]:
    """Known and busy time of a window: of an hour, by the part of the lease's life there, so that parts add up."""
    over = now if held.until is None else min(held.until, now)
    known_us = busy_us = 0
    # cut into days, a long lease would else be looked at as a whole for each of them
    begin = bisect_right(held.seen, start - _HOUR, key=lambda seen: seen.hour)
    for seen in held.seen[begin : bisect_left(held.seen, end, key=lambda seen: seen.hour)]:
        first, last = max(seen.hour, held.since), min(seen.hour + _HOUR, over)
        life = micros(last - first)
        if life <= 0:
            continue
        before = micros(min(max(start, first), last) - first)
        after = max(micros(min(max(end, first), last) - first), before)
        known_us += seen.known_us * after // life - seen.known_us * before // life
        busy_us += seen.busy_us * after // life - seen.busy_us * before // life
    return known_us, busy_us

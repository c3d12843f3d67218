"""What people are told by themselves: of which kinds, when before an end, and how often a failed sending is tried.

Pure: the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

KINDS = ("turn", "ending", "stopped", "limit", "device", "job", "schedule", "endpoint", "test")
"""turn: a waiting server's place; ending: a server is about to end; stopped: it has ended; limit: a budget or a
quota is nearly used up; device: a GPU is unhealthy; job, schedule, endpoint: one of them failed."""

VERBS = frozenset(
    {
        "environment.hold",
        "environment.pass",
        "environment.ready",
        "environment.fail",
        "environment.end",
        "environment.stop",
        "environment.stop_set",
        "ticket.expired",
        "budget.alert",
        "quota.near",
        "device.fault",
        "job.fail",
        "job.end",
        "execution.end",
        "schedule.pause",
        "endpoint.state",
        "endpoint.end",
        "endpoint.rollback",
        "replica.fail",
    }
)
"""Events of which somebody may have to be told. Each is marked when it is written, until that was seen to."""

STEPS_MIN = (60, 10, 1)
"""Minutes before its end at which a server's owner is warned."""
IDLE_MIN = 10
"""The same of a server that ends because nobody uses it."""
PASSING_PARTS = 3
"""A held place is told of once more when only one part in so many of its time is left."""
WAITED = timedelta(minutes=1)
"""Who waited no longer for a start is not told that it came: they still look at it."""

TRIED_FOR = timedelta(days=1)
_FIRST, _LONGEST = timedelta(seconds=30), timedelta(hours=1)


def step(left: timedelta, whole: timedelta, steps_min: Sequence[int] = STEPS_MIN) -> int | None:
    """The step that an end has come to, in minutes: the smallest that is not below what is left.

    None before the first, once it is over, and for steps that the whole time is not longer than: who asks for half
    an hour need not be told that it is less than an hour.
    """
    reached = [one for one in steps_min if left <= timedelta(minutes=one) < whole]
    return min(reached) if reached and left > timedelta(0) else None


def passing(held_until: datetime, held_for: timedelta, now: datetime) -> bool:
    """Whether a held place is about to go to the next."""
    return now < held_until <= now + held_for / PASSING_PARTS


def next_try(tries: int, made_at: datetime, now: datetime) -> datetime | None:
    """When to try again after so many tries: 30 s, doubled up to an hour; None once a day has passed."""
    wait = min(_FIRST * 2 ** min(max(tries - 1, 0), 20), _LONGEST)
    return now + wait if now + wait <= made_at + TRIED_FOR else None

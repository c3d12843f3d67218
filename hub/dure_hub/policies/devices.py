"""What a GPU is to people: healthy, or kept from them, and why. The clock is an argument."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from dure_hub.policies.verdict import Verdict

FAULT, OUTSIDE, CORDON = "fault", "outside", "cordon"
"""The kinds of what closes a GPU."""
DRAIN = "drain"
"""The code of a cordon that asks who holds it to end."""
NOTICE = timedelta(minutes=10)
"""What who holds a GPU is told before it is taken, at least."""
K = TypeVar("K", bound=Hashable)


class State(StrEnum):
    """What a GPU is. `DRAINED` is a drain that is over: nobody holds it any more."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    OUTSIDE = "used_outside"


def state_of(closures: Collection[tuple[str, str]], *, held: bool) -> State:
    """The one word for a GPU with these closures, as (kind, code): the one that says most about it."""
    codes = dict(closures)
    if FAULT in codes:
        return State.UNHEALTHY
    if codes.get(CORDON) == DRAIN:
        return State.DRAINING if held else State.DRAINED
    if CORDON in codes:
        return State.CORDONED
    return State.OUTSIDE if OUTSIDE in codes else State.HEALTHY


def settled(before: Collection[K], now: Collection[K]) -> frozenset[K]:
    """What two looks in a row say. One look may have caught the driver in the middle of something."""
    return frozenset(before) & frozenset(now)


def drain_by(asked: datetime | None, now: datetime, *, at_once: bool) -> Verdict:
    """By when who holds a GPU is to end. Without a date that is after the least notice.

    `drains` with `by`; `too_soon` with `earliest` where less notice was asked for and not said to be meant.
    """
    earliest = now + (timedelta() if at_once else NOTICE)
    if asked is not None and asked < earliest and not at_once:
        return Verdict.no("too_soon", earliest=earliest.isoformat(), asked=asked.isoformat())
    by = earliest if asked is None else max(asked, earliest)
    return Verdict.yes("drains", by=by.isoformat())

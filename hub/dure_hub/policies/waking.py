"""What happens to ends that came while nobody was there: a machine that slept, a portal that was away.

Such an end was announced to nobody. So no end that lies in the past, or closer than the notice, stays where it is:
it comes when the notice after the wake is over. Nothing here looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_LOOK_S = 60.0
"""A time between two looks that is no longer than this is a slow machine, and no gap."""
SLEPT, LEAPT, AWAY = "machine_slept", "clock_leapt", "portal_away"


@dataclass(frozen=True)
class Gap:
    """Nobody looked from `since` to `wake`, for the reason `cause`."""

    since: datetime
    wake: datetime
    cause: str

    @property
    def length(self) -> timedelta:
        """How long it was."""
        return self.wake - self.since


def gap(
    last: datetime | None,
    now: datetime,
    *,
    counted_s: float | None = None,
    asleep_s: float | None = None,
    longest_s: float = LONGEST_LOOK_S,
) -> Gap | None:
    """The gap between two looks, if it is longer than `longest_s`; None also where there was no look before.

    `counted_s` is what a clock that stands still in sleep has counted since, `asleep_s` how long the kernel says
    that the machine was suspended; None where another process looked last, which is a portal that was away. What
    neither explains is a clock that leapt: it was set, or the machine is a guest that was paused.
    """
    if last is None or (now - last).total_seconds() <= longest_s:
        return None
    between_s = (now - last).total_seconds()
    if asleep_s is not None and asleep_s >= between_s / 2:
        return Gap(last, now, SLEPT)
    if counted_s is not None and counted_s < between_s / 2:
        return Gap(last, now, LEAPT)
    return Gap(last, now, AWAY)


def end_after(end: datetime | None, wake: datetime, notice: timedelta) -> datetime | None:
    """The end that takes the place of `end`: never an earlier one, and none before the notice is over."""
    return None if end is None else max(end, wake + notice)


def use_after(used: datetime, wake: datetime, notice: timedelta, timeout: timedelta) -> datetime:
    """The last use that takes the place of `used`, so that idleness ends nothing before the notice is over.

    Where the timeout itself is shorter than the notice it counts anew, whole: nobody was seen after the wake.
    """
    return max(used, min(wake, wake + notice - timeout))


def waits_after(since: datetime, found: Gap) -> datetime:
    """Since when a request counts as waiting: what nobody could grant it in is no waiting time of its own."""
    return since if since >= found.wake else since + (found.wake - max(since, found.since))


def promise_after(promised: datetime, found: Gap, moved: bool, notice: timedelta) -> datetime:
    """What is promised of a start, which stood still with all else; with the notice, where ends were `moved`."""
    return promised + found.length + (notice if moved else timedelta(0))

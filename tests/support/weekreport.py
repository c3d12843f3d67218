"""What came of a simulated week, as figures: how long people waited, and what was told them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from tests.support.week import Week
from tests.support.weekwork import Wait

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Report:
    """Hours, and parts of one. Promises are of tickets that waited and stayed in line until they were granted."""

    asked: int
    at_once: int
    ended: dict[str, int]
    """What became of those that had to wait."""
    most_waiting: int
    granted_late: int
    """How many waited and were granted."""
    promised: float
    """The part of them that was told a time when they asked."""
    kept: float
    """The part of those that started no later than they were told then."""
    always_kept: float
    """The part that started no later than the earliest time they were told at any moment of their waiting."""
    early_h: float
    """The median of promised minus actual start."""
    wait_h: float
    """The median wait of those with a promise."""
    longest_wait_h: float
    gpu_hours: float
    """What was held of the GPUs: promises must not be paid for with idle ones."""


def report(week: Week) -> Report:
    """The figures of a week that has been run."""
    waits = list(week.waits.values())
    told = [wait for wait in waits if wait.told]
    granted = [wait for wait in told if wait.state == "granted"]
    first = [(wait, wait.first) for wait in granted if wait.first is not None]
    ever = [(wait, wait.tightest) for wait in granted if wait.tightest is not None]
    return Report(
        asked=len(waits),
        at_once=len(waits) - len(told),
        ended=dict(Counter(wait.state for wait in told)),
        most_waiting=week.most_waiting,
        granted_late=len(granted),
        promised=len(first) / max(len(granted), 1),
        kept=_kept(first),
        always_kept=_kept(ever),
        early_h=median([(when - _over(wait)) / HOUR for wait, when in first] or [0.0]),
        wait_h=median([(_over(wait) - wait.since) / HOUR for wait, _ in first] or [0.0]),
        longest_wait_h=max(((wait.over or week.clock()) - wait.since) / HOUR for wait in waits),
        gpu_hours=week.rules.gpu_hours(week.clock()),
    )


def _kept(promised: Sequence[tuple[Wait, datetime]]) -> float:
    return sum(_over(wait) <= when for wait, when in promised) / max(len(promised), 1)


def _over(wait: Wait) -> datetime:
    assert wait.over is not None
    return wait.over

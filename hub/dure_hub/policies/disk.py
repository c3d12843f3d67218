"""Whether a file system has room for something new, and when its reserve is let go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dure_hub.policies.verdict import Verdict

MIB = 1 << 20


@dataclass(frozen=True)
class Room:
    """A file system at a moment: what it is there for, and bytes."""

    place: str
    free: int
    total: int

    @property
    def percent(self) -> float:
        """The free share, from 0 to 100, rounded down to a tenth: it never says more than there is."""
        return int(1000 * self.free / self.total) / 10 if self.total else 0.0


def enough(rooms: Iterable[Room], percent: float, minimum_mb: int) -> Verdict:
    """Whether something may start: each of these has the free share, and as many MiB. The worst is told."""
    short = [one for one in rooms if 100 * one.free < percent * one.total or one.free < minimum_mb * MIB]
    if not short:
        return Verdict.yes("disk_enough")
    worst = min(short, key=lambda one: one.free / one.total if one.total else 0)
    facts = {"place": worst.place, "free_percent": worst.percent, "free_mb": worst.free // MIB}
    return Verdict.no("disk_low", **facts, percent=percent, minimum_mb=minimum_mb)


def lets_go(free: int, reserve: int) -> bool:
    """Whether the reserve is needed now: less than half of its own size is left for what must be written."""
    return free < reserve // 2


def takes(free: int, total: int, reserve: int, percent: float, minimum_mb: int) -> bool:
    """Whether there is room to set it aside again: with it, starts are still allowed."""
    left = free - reserve
    return enough([Room("", left, total)], percent, minimum_mb).allowed if left > 0 else False

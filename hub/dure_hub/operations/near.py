"""What of budgets and quotas is nearly used up, for whoever it concerns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Near:
    """One limit that is used to a percent at which its people are warned.

    `what` is `budget` (micro-units a month) or a limit of a quota, in its own unit; `percent` is rounded down, and
    may be beyond 100.
    """

    kind: str
    name: str
    what: str
    used: float
    limit: int

    @property
    def percent(self) -> int:
        """How much of it is used."""
        return int(100 * self.used // self.limit)

"""Time as it is given out to those who wait for the same GPUs."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Generic, TypeVar

Asked = TypeVar("Asked")


class Lane(Generic[Asked]):
    """Tickets that ask for the same: the time that has been given out to them, and who may run then.

    Time goes forward only: who comes later in the order starts no earlier than who is before it.
    """

    def __init__(self, ticket: Asked) -> None:
        self.ticket = ticket
        self.steps: list[tuple[datetime, int]] = []
        self._passed = 0
        self._at: datetime | None = None
        self._hits = 0
        self._running: list[tuple[datetime, int]] = []
        self._reserved: list[datetime] = []

    @property
    def ever(self) -> bool:
        """Whether one fits at all once what has an end has ended."""
        return self.steps[-1][1] > 0

    def hold(self, hits: int, since: datetime | None, until: datetime | None) -> None:
        """Count a rival before the next ticket: it may run until `until`, and starts at `since` at the latest.

        The next ticket goes after it, unless nobody knows when that is.
        """
        self._hits += hits
        if since is not None:
            self._at = since if self._at is None else max(self._at, since)
        if until is not None:
            heapq.heappush(self._running, (until, hits))

    def reserve(self, since: datetime) -> None:
        """A rival that was held has room, but starts only then, at the latest: its quota keeps it back.

        Whoever is over by then may go before it; of others nobody knows whether they leave it its room.
        """
        if since not in self._reserved:
            insort(self._reserved, since)

    def clear(self, at: datetime | None, life: timedelta | None) -> datetime | None:
        """The first time from `at` on at which somebody who runs for so long (None: no end) is in no reserve."""
        for since in self._reserved:
            if at is not None and at < since and (life is None or at + life > since):
                at = since
        return at

    def next(self) -> datetime | None:
        """The first time at which more fit than may be hit; None if there is none."""
        at = self.steps[0][0] if self._at is None else self._at
        while True:
            while self._passed + 1 < len(self.steps) and self.steps[self._passed + 1][0] <= at:
                self._passed += 1
            while self._running and self._running[0][0] <= at:
                self._hits -= heapq.heappop(self._running)[1]
            if self.steps[self._passed][1] > self._hits:
                self._at = at
                return at
            ahead = [self.steps[self._passed + 1][0]] if self._passed + 1 < len(self.steps) else []
            ahead += [self._running[0][0]] if self._running else []
            if not ahead:
                return None
            at = min(ahead)


def lasting(steps: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """The same, each with no more than there is from then on: a GPU given back may leave less for `cpu`."""
    found: list[tuple[datetime, int]] = []
    for at, count in reversed(steps):
        if found and found[-1][1] <= count:
            found[-1] = (at, found[-1][1])
        else:
            found.append((at, count))
    return found[::-1]

"""When quotas let those who wait start: what holders may have at once, and when what they have ends."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

Holder = tuple[str, str]
"""Whose quota it is: kind (team or user) and name."""


class Ceiling:
    """One holder's GPUs at once, in thousandths, and what counts against them until when (None: for ever).

    What is counted ahead may be there at any time before its end, so it counts from the start.
    """

    def __init__(self, limit: int, held: Iterable[tuple[int, datetime | None]]) -> None:
        self._limit, self._used = limit, 0
        self._ends: list[tuple[datetime, int]] = []
        self.passed_by: datetime | None = None
        """When the last of those that it binds starts at the latest: who it does not bind may not delay them."""
        for gpus, until in held:
            self.take(gpus, until)

    def take(self, gpus: int, until: datetime | None) -> None:
        """Count another."""
        self._used += gpus
        if until is not None:
            insort(self._ends, (until, gpus))

    def first(self, gpus: int, at: datetime) -> datetime | None:
        """The first time from `at` on at which so many more fit; None if there is none."""
        used, time = self._used, at
        for until, one in self._ends:
            if until > at:
                if used + gpus <= self._limit:
                    return time
                time = until
            used -= one
        return time if used + gpus <= self._limit else None


class Ceilings:
    """Those of everybody who waits, as one look ahead goes through the line."""

    def __init__(
        self, limits: Mapping[Holder, int], held: Mapping[Holder, Sequence[tuple[int, datetime | None]]]
    ) -> None:
        self._limits, self._held = limits, held
        self._known: dict[Holder, Ceiling] = {}

    def start(
        self, gpus: int, holders: Sequence[Holder], bound_by: Sequence[Holder], at: datetime | None
    ) -> datetime | None:
        """The first time from `at` on (None: unknown) at which so many more may be held by these.

        Whoever a ceiling does not bind may go beyond it, but not before those whom it binds and who came first.
        """
        for holder in self._of(gpus, holders):
            own = self._ceiling(holder)
            if at is not None and holder in bound_by:
                at = own.first(gpus, at)
            elif at is not None and own.passed_by is not None and own.passed_by > at:
                fits = own.first(gpus, at)
                at = own.passed_by if fits is None else min(fits, own.passed_by)
        return at

    def take(
        self,
        gpus: int,
        holders: Sequence[Holder],
        bound_by: Sequence[Holder],
        at: datetime | None,
        until: datetime | None,
    ) -> None:
        """Count one that starts at `at` at the latest."""
        for holder in self._of(gpus, holders):
            own = self._ceiling(holder)
            own.take(gpus, until)
            if at is not None and holder in bound_by:
                own.passed_by = at if own.passed_by is None else max(at, own.passed_by)

    def _of(self, gpus: int, holders: Sequence[Holder]) -> list[Holder]:
        return [holder for holder in holders if gpus and holder in self._limits]

    def _ceiling(self, holder: Holder) -> Ceiling:
        if holder not in self._known:
            self._known[holder] = Ceiling(self._limits[holder], self._held.get(holder, ()))
        return self._known[holder]

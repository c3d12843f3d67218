"""API calls and uploads: counted in memory, written every few seconds, refused where a quota is used up.

A call must not cost a transaction. So each process adds up by itself; `flush` adds what came since the last one to
the store's sums and reads back what others have added. A `kill -9` loses what came since the last flush, at most
`FLUSH_S` seconds of it, and nothing that was written; what an upload had taken by then stays counted. With several
processes a quota may be overshot by what the others took within one flush.

Who is in several teams counts in each of them: these limits protect the portal, they are no money.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from dure_hub.operations.people import Person
from dure_hub.policies.quota import Quota, Use, check_call, check_upload
from dure_hub.policies.verdict import Verdict
from dure_hub.store import Clock, Store, models
from dure_hub.store.models import Counter

FLUSH_S = 5.0
API_CALLS, UPLOAD_BYTES = "api_calls", "upload_bytes"
ANYBODY = "*"
"""The quota of every user (team) who has none of their own."""


class Key(NamedTuple):
    """What is summed: calls of a day, or bytes of a month, of one user or team."""

    kind: str
    subject: str
    what: str
    period: str


class Counters:
    """One object a process. `flush` is for a tick, and once more at the end."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._new: Tally[Key] = Tally()
        self._writing: Tally[Key] = Tally()
        self._written: dict[Key, int] = {}
        self._quotas: Mapping[tuple[str, str], Quota] | None = None
        self._flushing: asyncio.Task[None] | None = None

    async def call(self, person: Person) -> Verdict:
        """Count one API call, if the quotas of person and teams allow it today. As `quota.check_call`.

        An administrator's is counted, and always allowed.
        """
        keys, now = await self.keys(person, API_CALLS), self._clock()
        if person.admin:
            self._count(keys, 1)
            return Verdict.yes("within_quota")
        return self._take(keys, 1, lambda key: check_call(self._quota(key), Use(api_calls=self._sum(key)), now))

    def upload(self, person: Person) -> Upload:
        """An upload that begins; nothing is counted yet."""
        return Upload(self, person)

    def take_bytes(self, keys: Sequence[Key], size: int) -> Verdict:
        """Count so many bytes, if this month's quotas allow them. As `quota.check_upload`."""
        now = self._clock()

        def check(key: Key) -> Verdict:
            return check_upload(self._quota(key), Use(upload_bytes=self._sum(key)), size, now)

        return self._take(keys, size, check)

    def give_back(self, taken: Mapping[Key, int]) -> None:
        """Count these no more."""
        self._new.subtract(taken)

    def _take(self, keys: Sequence[Key], amount: int, check: Callable[[Key], Verdict]) -> Verdict:
        # nothing is awaited between the look and the count: two who come at once do not pass together
        for key in keys:
            verdict = check(key)
            if not verdict.allowed:
                return verdict
        self._count(keys, amount)
        return Verdict.yes("within_quota")

    def _count(self, keys: Sequence[Key], amount: int) -> None:
        for key in keys:
            self._new[key] += amount

    async def flush(self) -> None:
        """Write what is new, and read sums and quotas as they are now. What could not be written is kept."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="flush counters")
        # A thread that writes cannot be cancelled: were its outcome not awaited, its counts could be added again.
        await asyncio.shield(self._flushing)

    async def close(self) -> None:
        """Write what is left. Safe to call where nothing was ever counted."""
        if self._flushing is not None:
            await asyncio.wait({self._flushing})
        if self._new:
            await self.flush()

    async def _flush(self) -> None:
        now = self._clock()
        self._writing, self._new = self._new, Tally()
        current = {key for key in {*self._written, *self._writing} if key.period in (day_of(now), month_of(now))}

        def work(session: Session) -> None:
            add(session, self._writing)

        try:
            if self._writing:
                await self._store.run(work)
        except Exception:
            self._new.update(self._writing)
            self._writing = Tally()
            raise
        written, limits = await self._store.read(lambda session: (sums(session, current), quotas(session)))
        self._written, self._quotas, self._writing = written, limits, Tally()

    def _sum(self, key: Key) -> int:
        return self._written.get(key, 0) + self._writing[key] + self._new[key]

    async def keys(self, person: Person, what: str) -> Sequence[Key]:
        """What counts a person's calls of today or uploads of this month; their sums and quotas are known then."""
        now = self._clock()
        period = day_of(now) if what == API_CALLS else month_of(now)
        keys = [Key("user", person.name, what, period)]
        keys += [Key("team", team, what, period) for team in sorted(person.teams)]
        unread = [key for key in keys if key not in self._written]
        if unread or self._quotas is None:
            found, limits = await self._store.read(lambda session: (sums(session, unread), quotas(session)))
            # a flush may have come first, and knows better
            self._written = {**found, **self._written}
            self._quotas = limits if self._quotas is None else self._quotas
        return keys

    def _quota(self, key: Key) -> Quota:
        quotas = self._quotas or {}
        found = quotas.get((key.kind, key.subject)) or quotas.get((key.kind, ANYBODY)) or Quota()
        return replace(found, kind=key.kind, name=key.subject)


class Upload:
    """One upload: counted as its pieces are taken, and given back where nothing of it is kept."""

    def __init__(self, counters: Counters, person: Person) -> None:
        self._counters, self._person = counters, person
        self._taken: Tally[Key] = Tally()

    async def take(self, size: int) -> Verdict:
        """Count a piece of so many bytes, if the quotas of person and teams allow it."""
        keys = await self._counters.keys(self._person, UPLOAD_BYTES)
        verdict = self._counters.take_bytes(keys, size)
        if verdict.allowed:
            self._taken.update(dict.fromkeys(keys, size))
        return verdict

    def give_back(self) -> None:
        """Count nothing of it; twice is once."""
        self._counters.give_back(self._taken)
        self._taken.clear()


def add(session: Session, new: Mapping[Key, int]) -> None:
    """Add to the sums, whoever else adds at the same time."""
    # in one order, so that two who add to the same rows never wait for each other
    rows = [{**key._asdict(), "value": value} for key, value in sorted(new.items())]
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for start in range(0, len(rows), 200):
        each = insert(Counter).values(rows[start : start + 200])
        more = {"value": Counter.value + each.excluded.value}
        session.execute(each.on_conflict_do_update(index_elements=list(Key._fields), set_=more))


def sums(session: Session, keys: Iterable[Key]) -> dict[Key, int]:
    """The sums of these keys as they are written; 0 where nothing is."""
    found = dict.fromkeys(keys, 0)
    wanted = list(found)
    columns = tuple_(Counter.kind, Counter.subject, Counter.what, Counter.period)
    for start in range(0, len(wanted), 200):
        query = select(Counter).where(columns.in_(wanted[start : start + 200]))
        for row in session.scalars(query):
            found[Key(row.kind, row.subject, row.what, row.period)] = row.value
    return found


def day_of(now: datetime) -> str:
    """The period of what is counted by the day (of UTC)."""
    return f"{now:%Y-%m-%d}"


def month_of(now: datetime) -> str:
    """The period of what is counted by the month (of UTC)."""
    return f"{now:%Y-%m}"


def quotas(session: Session) -> dict[tuple[str, str], Quota]:
    """Every quota by kind and name."""
    return {
        (row.kind, row.name): Quota(
            row.gpus, row.gpu_hours_month, row.api_calls_day, row.upload_mb_month, row.kind, row.name
        )
        for row in session.scalars(select(models.Quota))
    }

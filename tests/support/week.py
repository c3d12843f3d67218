"""A week of a campus in some minutes: the real reconciler, queue and store, with the time in the hand.

Nothing is started: what "runs" under a lease is an entry in a dictionary until its time comes. All else is the
portal's own: requests go through `admission.admit`, and each pass is `Reconciler.look`, which expires, ends, times
out, grants, reclaims and makes long training wait again. Passes follow each event until nothing moves any more, so
what the machinery itself takes (seconds) is not in any wait. What a person is told is read as they would read it:
when they ask, and again after everything that happens for as long as they wait.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.backends.base import Handle, Kind, Phase, Seen
from dure_hub.backends.embedded import SimulatedInventory
from dure_hub.operations import admission, extending, line, ticket_rows
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.reconcile import Reconciler
from dure_hub.policies import lifetime
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.events import record
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event, Lease, Quota, Ticket
from tests.support.weekload import MONDAY, Ask
from tests.support.weekrules import LIMITS, Rules
from tests.support.weekwork import Wait, Work
from tests.support.world import HandClock

LONGEST = timedelta(hours=24)
"""After so long training writes a checkpoint and waits again, where others wait."""
LOOKS = timedelta(minutes=30)
"""A pass at least so often; what changes between two events is only who may be asked to give back by now."""
BEFORE_END = timedelta(minutes=10)
STEP = timedelta(minutes=10)
"""Everything happens at a multiple of this: fewer moments, with more in each."""
_PASSES = 40
"""More passes than this at one moment are a quarrel without an end."""
_PURPOSES = (admission.NOTEBOOK, admission.TRAINING, admission.SERVING, "allocation")


class Week:
    """The simulation. `waits` and `rules.wrong` are what came of it."""

    def __init__(self, folder: Path, asks: Sequence[Ask]) -> None:
        self.settings = Settings(data=folder, instance="0" * 12, simulated_fleet="campus")
        self.settings.folder.create()
        migrate(self.settings)
        self.store = Store(database_url(self.settings))
        self.clock = HandClock(MONDAY)
        place = SimulatedInventory(self.settings, self.clock)
        self.profiles = Profiles(self.settings, self.store, self.clock, place)
        self.works = {purpose: Work(purpose, self._started, self._stopped) for purpose in _PURPOSES}
        self.reconciler = Reconciler(
            self.settings, self.store, self.clock, self.profiles, list(self.works.values())
        )
        self.waits: dict[str, Wait] = {}
        self.most_waiting = 0
        self.refused: Counter[str] = Counter()
        self._asks = {f"t{number:05}": ask for number, ask in enumerate(asks)}
        self._left: dict[str, float] = {}
        self._extended: Counter[str] = Counter()
        self._events: list[tuple[datetime, int, str, str]] = []
        self._numbers = itertools.count()
        self._read_events = 0
        self._happened: list[str] = []
        self._live: set[tuple[str, str]] = set()
        """Who has a notebook, or waits for one: nobody asks for a second."""
        self._happenings = {
            "look": self._look,
            "ask": self._ask,
            "leave": self._leave,
            "done": self._done,
            "extend": self._extend,
        }

    async def run(self, days: float) -> None:
        """Simulate so many days. What waits or runs then still does."""
        self.fleet = await self.profiles.fleet()
        self.rules = Rules(self.fleet.machines)
        end = MONDAY + timedelta(days=days)
        with self.store.transaction() as session:
            for (kind, name), (gpus, hours) in LIMITS.items():
                session.add(
                    Quota(kind=kind, name=name, gpus=gpus, gpu_hours_month=hours, set_by="root", set_at=MONDAY)
                )
        for ticket, ask in self._asks.items():
            self._plan(ask.at, "ask", ticket)
        for number in range(int(timedelta(days=days) / LOOKS)):
            self._plan(MONDAY + number * LOOKS, "look", "")
        while self._events and self._events[0][0] < end:
            await self._moment()
        self.clock.now = end

    async def close(self) -> None:
        """Close the files."""
        await self.reconciler.close()
        self.store.close()

    def _started(self, ticket: Ticket, lease: Lease) -> None:
        """A ticket became a lease: how long will it last, and will somebody want it longer?"""
        now, subject = self.clock(), lease.subject
        ask = self._asks[subject]
        left_s = self._left.setdefault(subject, float(ask.real_s))
        self._plan(now + timedelta(seconds=left_s), "done", lease.id)
        if lease.until is not None:
            self._plan_end(lease.id, lease.until, extends=ask.extensions > 0)
        if lease.purpose == admission.TRAINING:
            self._plan(now + LONGEST, "look", "")

    def _stopped(self, session: Session, lease: Lease, again: bool) -> None:
        """A lease is over; interrupted training waits again for what is left of it."""
        subject, now = lease.subject, self.clock()
        ask = self._asks[subject]
        ran_s = (now - lease.granted_at).total_seconds()
        self._left[subject] -= ran_s
        self._happened.append(f"end {lease.end_reason}")
        if again and self._left[subject] > 0:
            ticket = admission.requeue(session, lease, self.settings.max_lifetime_s, now)
            self._wait(ticket.id, ask, now)
            self._happened.append(f"requeue {lease.end_reason}")
            return
        self._live.discard((ask.owner, ask.purpose))

    def _plan(self, at: datetime, what: str, which: str) -> None:
        at += (MONDAY - at) % STEP
        heapq.heappush(self._events, (at, next(self._numbers), what, which))

    def _plan_end(self, lease: str, until: datetime, extends: bool) -> None:
        self._plan(until, "look", lease)
        if extends:
            self._plan(until - BEFORE_END, "extend", lease)

    def _wait(self, ticket: str, ask: Ask, now: datetime) -> None:
        self.waits[ticket] = Wait(ticket, ask.purpose, ask.profile, ask.team, now)
        self._plan(now + timedelta(seconds=self.settings.ticket_timeout_s), "look", ticket)

    async def _moment(self) -> None:
        """Everything that happens at one time, then passes until nothing moves."""
        now = self.clock.now = self._events[0][0]
        self._happened.clear()
        self.fleet = await self.profiles.fleet()
        while self._events and self._events[0][0] == now:
            _, _, what, which = heapq.heappop(self._events)
            self._happenings[what](which, now)
        await self._settle()
        self._check(now)
        self._tell(now)

    async def _settle(self) -> None:
        for _ in range(_PASSES):
            before = self._line()
            await self.reconciler.look()
            for _ in range(3):  # what was told to stop has stopped
                await asyncio.sleep(0)
            # who was granted, or promised something, may change whose turn it is: the next pass sees that
            if not self._moving() and self._line() == before:
                return
        raise AssertionError(f"{_PASSES} passes at {self.clock.now} and still something moves")

    def _line(self) -> set[tuple[str, datetime | None]]:
        """Who waits, and what was promised to them."""
        with self.store.reading() as session:
            query = select(Ticket.id, Ticket.promised_at).where(Ticket.state == "waiting")
            return {(ticket, promised) for ticket, promised in session.execute(query)}

    def _moving(self) -> bool:
        """Whether a lease is on its way to its end."""
        running = {
            lease
            for work in self.works.values()
            for lease, seen in work.there.items()
            if seen.phase is Phase.RUNNING
        }
        with self.store.reading() as session:
            rows = session.execute(select(Lease.id, Lease.end_reason).where(Lease.ended_at.is_(None))).all()
        return any(reason is not None or lease not in running for lease, reason in rows)

    # what may happen

    def _look(self, _: str, now: datetime) -> None:
        """Time passes."""

    def _ask(self, ticket_id: str, now: datetime) -> None:
        ask = self._asks[ticket_id]
        if ask.purpose == admission.NOTEBOOK:
            if (ask.owner, ask.purpose) in self._live:  # has one already, or waits for it
                return
            self._live.add((ask.owner, ask.purpose))
        with self.store.transaction() as session:
            try:
                got = admission.admit(
                    session, ticket_id=ticket_id, owner=ask.owner, purpose=ask.purpose, subject=ticket_id,
                    profile=ask.profile, lifetime_s=ask.lifetime_s, now=now, fleet=self.fleet, team=ask.team,
                    queue_class=ask.queue_class, priority=ask.priority,
                )  # fmt: skip
            except DureError as error:
                self.refused[type(error).__name__] += 1
                self._live.discard((ask.owner, ask.purpose))
                return
            self._wait(ticket_id, ask, now)
            self._happened.append(f"ask {ask.purpose} {ask.queue_class}{' first' * ask.priority}")
            if isinstance(got, Lease):
                ticket = session.get_one(Ticket, ticket_id)
                self.works[ask.purpose].granted(session, ticket, got)
            else:
                shown = ticket_rows.ticket_on_wire(session, got, self.fleet, now)
                self.waits[ticket_id].show(now, shown.expected_start, ())
        if ask.patience_s is not None:
            self._plan(now + timedelta(seconds=ask.patience_s), "leave", ticket_id)

    def _leave(self, ticket_id: str, now: datetime) -> None:
        with self.store.transaction() as session:
            ticket = admission.cancel(session, ticket_id, "cancelled", now, self._asks[ticket_id].owner)
        if ticket is not None:
            self._happened.append("cancel")
            self._live.discard((ticket.owner, ticket.purpose))

    def _done(self, lease_id: str, now: datetime) -> None:
        """Its owner gives it back; a job has finished by itself."""
        with self.store.transaction() as session:
            lease = session.get_one(Lease, lease_id)
            if lease.ended_at is not None or lease.end_reason is not None:
                return
            work = self.works[lease.purpose]
            if lease.purpose == admission.TRAINING:
                work.there[lease_id] = Seen(Handle(lease_id, Kind.JOB), Phase.EXITED, 0)
                self._left[lease.subject] = 0
            else:
                admission.ask_end(session, lease, "asked", now, lease.owner)
                work.there.pop(lease_id, None)

    def _extend(self, lease_id: str, now: datetime) -> None:
        """As `Environments.extend` does it."""
        with self.store.transaction() as session:
            lease = session.get_one(Lease, lease_id)
            ask = self._asks[lease.subject]
            if lease.ended_at is not None or lease.end_reason is not None or lease.until is None:
                return
            until = lease.until + timedelta(seconds=ask.extend_s)
            longest_s = self.fleet.profile(lease.profile).max_lifetime_s
            verdict = lifetime.extension(until, lease.until, max_s=longest_s, now=now)
            if verdict.code != "end_moved" or not extending.judge(session, lease, until, self.fleet, now).allowed:
                return
            lease.until, lease.renewals = until.astimezone(UTC), lease.renewals + 1
            record(session, now, lease.owner, "lease.extend", f"lease:{lease.id}", verdict.to_json())
        self._happened.append("extend")
        self._extended[lease_id] += 1
        self._plan_end(lease_id, until, extends=self._extended[lease_id] < ask.extensions)

    # what must hold

    def _check(self, now: datetime) -> None:
        """Apply the new events, in the order of their commits, each against the rules."""
        with self.store.reading() as session:
            rows = session.execute(
                text("SELECT rowid, id FROM events WHERE rowid > :last ORDER BY rowid"),
                {"last": self._read_events},
            ).all()
            events = {
                one.id: one for one in session.scalars(select(Event).where(Event.id.in_([r[1] for r in rows])))
            }
        for number, key in rows:
            self._read_events = number
            event = events[key]
            kind, _, thing = event.object.partition(":")
            if event.verb == "lease.end":
                self.rules.apply(event)
            elif event.verb == "lease.grant":
                wait = self.waits[event.verdict["facts"]["ticket"]]
                wait.state, wait.over = "granted", now
                self.rules.apply(event, wait.purpose)
                self._happened.append("grant")
            elif event.verb == "ticket.reclaim":
                self._happened.append("reclaim")
            elif kind == "ticket" and event.verb in ("ticket.cancelled", "ticket.expired"):
                self._over(thing, event.verb.partition(".")[2], now)
                if event.verb == "ticket.expired":
                    ask = self._asks[self._subject(thing)]
                    self._live.discard((ask.owner, ask.purpose))

    def _subject(self, ticket_id: str) -> str:
        with self.store.reading() as session:
            return session.get_one(Ticket, ticket_id).subject

    def _over(self, ticket_id: str, state: str, now: datetime) -> None:
        wait = self.waits[ticket_id]
        wait.state, wait.over = state, now

    def _tell(self, now: datetime) -> None:
        """Everybody who waits looks at the page."""
        if not any(wait.over is None for wait in self.waits.values()):
            return
        with self.store.reading() as session:
            queued = line.read(session, self.fleet, now)
            starts = queued.expected()
            if now.minute == 0:  # not always: it takes as long as all the rest of this
                idle = [f"{now}: {start.ticket.id} may start and does not" for start in queued.startable()]
                self.rules.wrong += idle
        self.most_waiting = max(self.most_waiting, len(queued.tickets))
        for ticket_id in queued.tickets:
            stopped = [f"stopped {queued.stopped[ticket_id].code}"] if ticket_id in queued.stopped else []
            self.waits[ticket_id].show(now, starts.get(ticket_id), [*self._happened, *stopped])

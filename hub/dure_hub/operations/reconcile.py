"""The one reconciler: what runs is compared with what should, in the portal service, by whoever leads.

A pass, for each subject (environments, jobs, endpoints) on its own:
1. `subject.runs.seen()`: everything of its kind that runs. Where that fails, there is no verdict in this pass.
2. Only then its active leases are read from the store: what was recorded before it was started is never missed.
3. `decide(wanted, seen, …)`, a pure function, on two consecutive looks for whatever nobody asked for:
   - runs without an active lease: an orphan, stopped by the backend;
   - active lease, and nothing runs (after `subject.grace_s` from its claim, or two minutes from its grant where
     nobody claimed it), or what ran has exited: `end_lease`, and `subject.ended(…)` in the same transaction;
   - past its end: `ask_end(…, "expired")`;
   - was asked to end (`ask_end` sets the lease's `end_reason`) and still runs: `subject.stop(…)`, not twice at
     once, again in each pass until it is gone.
4. Waiting tickets: too old ones end (`subject.gave_up`), the others are granted in order (`subject.granted`), both
   in the transaction of the change.
5. `await subject.act(seen)`: whatever the subject does next (start what was granted, read progress).

To add a kind of work, write a `Subject`, and give it to `Reconciler(…)`. What starts under a lease follows this
order: set `lease.claimed_at` (record), start, write each handle's `where` into `lease.handle`. To end something,
`ask_end` in a transaction and `kick()`; the row of the subject changes in `ended`. `act` must not wait long: start
tasks. Work that has nothing to do with leases is a tick of its own: `reconciler.ticks.add(name, interval_s, fn)`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Runs, Seen
from dure_hub.operations import admission, closures, reclaim
from dure_hub.operations.endings import end_of
from dure_hub.operations.leading import last_seen, lead, note_seen
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.ticks import Ticks as Ticks
from dure_hub.operations.waking import BEAT_S, Waking
from dure_hub.policies.lifetime import is_expired, waited_too_long
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Environment, Lease, Ticket

log = logging.getLogger(__name__)

UNCLAIMED = timedelta(seconds=120)
"""How long a granted lease may wait for its owner."""
_VERDICT = 2
"""Full looks, one after the other, until nothing that ended before the first still counts as running."""


class Subject(Protocol):
    """One kind of work under leases. The first three methods run inside a transaction: quick, no awaits."""

    purpose: str
    """The purpose of its leases: `admission.NOTEBOOK`, `TRAINING` or `SERVING`."""
    kind: Kind
    grace_s: float
    """How long after its claim a lease may have nothing running yet."""
    keeps: bool
    """Whether what exited stays listed (its log is still read); else the backend forgets it."""

    @property
    def runs(self) -> Runs:
        """The backend that runs it."""

    def granted(self, session: Session, ticket: Ticket, lease: Lease) -> None:
        """Its ticket became a lease: update the subject's row."""

    def gave_up(self, session: Session, ticket: Ticket) -> None:
        """Its ticket waited too long and has ended."""

    def ended(self, session: Session, lease: Lease, seen: Seen | None) -> None:
        """Its lease has ended for `lease.end_reason`; `seen` is what was last seen of it, with the exit code."""

    async def stop(self, handle: Handle, reason: str) -> None:
        """Make it stop; called again in later passes while it still runs."""

    async def act(self, seen: Mapping[str, Seen]) -> None:
        """What comes next, with what this pass saw by lease id."""


@dataclass(frozen=True)
class Wanted:
    """An active lease as `decide` sees it. `since` is its claim, else until when it was held, else its grant."""

    lease: str
    since: datetime
    claimed: bool
    until: datetime | None
    end_reason: str | None


@dataclass(frozen=True)
class Decision:
    """What one look leads to. `suspects` are for the next look: nothing happens to them yet."""

    expire: tuple[str, ...] = ()
    stop: tuple[tuple[Seen, str], ...] = ()
    orphans: tuple[Seen, ...] = ()
    close: tuple[tuple[str, str, Seen | None], ...] = ()
    leftovers: tuple[Seen, ...] = ()
    suspects: frozenset[str] = frozenset()


def decide(
    wanted: Sequence[Wanted], seen: Sequence[Seen], now: datetime, grace_s: float, before: frozenset[str]
) -> Decision:
    """Compare. `before` are the suspects of the last look; whoever is suspected twice is acted upon."""
    there = by_lease(seen)
    active = {lease.lease for lease in wanted}
    expire, stop, close, suspects = [], [], [], set()
    for lease in wanted:
        what = there.get(lease.lease)
        reason = lease.end_reason
        ended = what is not None and what.phase is Phase.EXITED  # by itself, so not because its time was over
        if reason is None and not ended and is_expired(lease.until, now):
            expire.append(lease.lease)
            reason = "expired"
        if what is not None and what.phase is Phase.RUNNING:
            if reason is not None:
                stop.append((what, reason))
            continue
        if what is None and reason is None and now < lease.since + _patience(lease, grace_s):
            continue
        suspects.add(lease.lease)
        if lease.lease in before:
            close.append((lease.lease, reason or _cause(lease, what), what))
    orphans = []
    for what in there.values():
        if what.handle.lease not in active and what.phase is Phase.RUNNING:
            suspects.add(what.handle.lease)
            if what.handle.lease in before:
                orphans.append(what)
    leftovers = [w for w in there.values() if w.handle.lease not in active and w.phase is not Phase.RUNNING]
    return Decision(
        tuple(expire), tuple(stop), tuple(orphans), tuple(close), tuple(leftovers), frozenset(suspects)
    )


def by_lease(seen: Sequence[Seen]) -> dict[str, Seen]:
    """What was seen by lease id; what runs hides what has exited."""
    ordered = sorted(seen, key=lambda one: one.phase is Phase.RUNNING)
    return {one.handle.lease: one for one in ordered}


def _patience(lease: Wanted, grace_s: float) -> timedelta:
    return timedelta(seconds=grace_s) if lease.claimed else UNCLAIMED


def _cause(lease: Wanted, what: Seen | None) -> str:
    if what is not None:
        return "exited"
    return "lost" if lease.claimed else "unclaimed"


class Reconciler:
    """Runs the passes. One object a process; only the one that leads acts."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        profiles: Profiles,
        subjects: Sequence[Subject],
        waking: Waking | None = None,
    ) -> None:
        self.ticks = Ticks()
        self.ticks.add("reconcile", settings.look_interval_s, self.look)
        self.ticks.add("awake", BEAT_S, lambda: store.run(self._awake))
        self._waking = waking
        self._settings = settings
        self._store = store
        self._clock = clock
        self._profiles = profiles
        self._subjects = list(subjects)
        self._holder = new_id()
        self._before: dict[str, frozenset[str]] = {}
        self._looks: Counter[str] = Counter()
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._ran_at: dict[str, dict[str, datetime]] = {}
        """When each active lease was last seen to run, by purpose."""
        self._passes: list[datetime] = []
        """When the last full passes began, one after the other, `_VERDICT` at most."""
        self._ran_before: datetime | None = None
        """When what runs was last seen by whoever looked before this."""

    def kick(self) -> None:
        """Look as soon as possible. Harmless where the ticks do not run (in the hub's process)."""
        self.ticks.kick("reconcile")

    async def look(self) -> None:
        """One pass over every subject. A subject that fails is logged and does not hold up the others."""
        if self._settings.folder.closing.exists():
            self._start_over()  # `down` ends everything; the next portal sees what became of it, and says so
            return
        if not await self._store.run(self._lead):
            self._start_over()  # its looks are no longer consecutive
            return
        looks: dict[str, Mapping[str, Seen]] = {}
        began = self._clock()
        for subject in self._subjects:
            try:
                seen = await subject.runs.seen()
                await self._compare(subject, seen, began, self._clock())
                looks[subject.purpose] = by_lease(seen)
                self._looks[subject.purpose] += 1
            except Exception:
                self._before.pop(subject.purpose, None)
                self._looks.pop(subject.purpose, None)
                log.exception("looking at %s failed; no verdict in this pass", subject.purpose)
        self._passes = [*self._passes, began][-_VERDICT:] if len(looks) == len(self._subjects) else []
        try:
            await self._serve_queue()
        except Exception:
            log.exception("the queue could not be served; tried again in the next pass")
        for subject in self._subjects:
            if subject.purpose in looks:
                try:
                    await subject.act(looks[subject.purpose])
                except Exception:
                    log.exception("acting for %s failed; tried again in the next pass", subject.purpose)

    def _lead(self, session: Session) -> bool:
        if not lead(session, self._holder, self._clock()):
            return False
        self._awake(session)
        if not self._passes:
            self._ran_before = last_seen(session)
        elif len(self._passes) == _VERDICT:
            # what had ended by the first of them was ended by the last
            note_seen(session, self._holder, self._passes[0])
        return True

    def _awake(self, session: Session) -> None:
        """Before anything ends for its time: the machine may have slept since the look, or before it."""
        if self._waking is not None:
            self._waking.look(session, self._holder, self._clock())

    def has_looked(self, purpose: str) -> bool:
        """Whether this process has told which leases of `purpose` have nothing running any more.

        Until it has, twice over, one that the store calls active may have ended with the last portal.
        """
        return self._looks[purpose] >= _VERDICT

    def _start_over(self) -> None:
        self._before.clear()
        self._looks.clear()
        self._ran_at.clear()
        self._passes.clear()

    async def close(self) -> None:
        """End the ticks and what they left running in this process; nothing outside of it."""
        await self.ticks.stop()
        for task in self._stopping.values():
            task.cancel()
        await asyncio.gather(*self._stopping.values(), return_exceptions=True)

    async def _compare(self, subject: Subject, seen: Sequence[Seen], began: datetime, looked_at: datetime) -> None:
        wanted = await self._store.read(lambda session: _wanted(session, subject.purpose))
        before = self._before.get(subject.purpose, frozenset())
        running = {one.handle.lease: began for one in seen if one.phase is Phase.RUNNING}
        ran_at = {**self._ran_at.get(subject.purpose, {}), **running}
        self._ran_at[subject.purpose] = {one.lease: ran_at[one.lease] for one in wanted if one.lease in ran_at}
        decision = decide(wanted, seen, self._clock(), subject.grace_s, before)
        self._before[subject.purpose] = decision.suspects
        moved: set[str] = set()
        if decision.expire or decision.close:
            moved = await self._store.run(lambda session: self._write(session, subject, decision, looked_at))
        for what, reason in decision.stop:
            if what.handle.lease not in moved:
                self._stop(subject, what, reason)
        for what in decision.orphans:
            log.warning("stopping %s %s: it has no active lease", what.handle.kind, what.handle.lease)
            self._stop(None, what, "orphan", subject.runs)
        if not subject.keeps:
            for what in decision.leftovers:
                await forget(subject.runs, what.handle)

    def _write(self, session: Session, subject: Subject, decision: Decision, looked_at: datetime) -> set[str]:
        """Write what was decided; the leases whose end was moved since the look, which go on."""
        self._awake(session)
        now, moved = self._clock(), set()
        for lease_id in decision.expire:
            lease = session.get_one(Lease, lease_id)
            if lease.end_reason is None and not is_expired(lease.until, now):
                moved.add(lease_id)
                continue
            admission.ask_end(session, lease, closures.end_reason(session, lease, now), now)
        for lease_id, reason, what in decision.close:
            if lease_id in moved:
                continue
            try:
                with (
                    session.begin_nested()
                ):  # what cannot be closed must not keep the others' leases from their end
                    self._end(session, subject, lease_id, reason, what, looked_at)
            except Exception:
                log.exception("lease %s cannot be ended yet; tried again in the next pass", lease_id)
        return moved

    def _end(
        self,
        session: Session,
        subject: Subject,
        lease_id: str,
        reason: str,
        what: Seen | None,
        looked_at: datetime,
    ) -> None:
        ran_at = self._ran_at[subject.purpose].get(lease_id, self._ran_before)
        at = end_of(session.get_one(Lease, lease_id), what, looked_at, ran_at)
        ended = admission.end_lease(session, lease_id, reason, self._clock(), at=at)
        if ended is not None:
            log.info("lease %s of %s ended: %s", ended.id, ended.owner, ended.end_reason)
            subject.ended(session, ended, what)

    def _stop(self, subject: Subject | None, what: Seen, reason: str, runs: Runs | None = None) -> None:
        lease = what.handle.lease
        running = self._stopping.get(lease)
        if running is not None and not running.done():
            return
        if subject is not None:
            work = subject.stop(what.handle, reason)
        else:
            assert runs is not None  # noqa: S101 - one of the two is given
            work = runs.stop(what.handle, self._settings.stop_grace_s)
        task = asyncio.create_task(work, name=f"stop {lease}")
        self._stopping[lease] = task
        task.add_done_callback(lambda done: self._stopped(lease, done))

    def _stopped(self, lease: str, task: asyncio.Task[None]) -> None:
        self._stopping.pop(lease, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("stopping %s failed; tried again in the next pass", lease, exc_info=task.exception())
        self.kick()

    async def _serve_queue(self) -> None:
        waiting = select(Ticket.id).where(Ticket.state == "waiting").limit(1)
        if await self._store.read(lambda session: session.scalar(waiting)) is None:
            return
        fleet = await self._profiles.for_queue()

        def decide_queue(session: Session) -> None:
            self._awake(session)
            now = self._clock()
            subjects = {subject.purpose: subject for subject in self._subjects}
            for ticket in session.scalars(select(Ticket).where(Ticket.state == "waiting")).all():
                if not waited_too_long(ticket.since or ticket.asked_at, self._settings.ticket_timeout_s, now):
                    continue
                admission.cancel(session, ticket.id, "expired", now)
                subjects[ticket.purpose].gave_up(session, ticket)
            session.flush()
            for ticket, lease in admission.grant_waiting(session, fleet, now):
                subjects[ticket.purpose].granted(session, ticket, lease)

        def take_back(session: Session) -> None:
            reclaim.reclaim(session, fleet, self._clock())
            reclaim.end_long_training(session, fleet, self._clock())

        await self._store.run(decide_queue)
        if fleet.full is None:  # else nobody could use what is taken back
            await self._store.run(take_back)


async def forget(runs: Runs, handle: Handle) -> None:
    """Drop what an ended thing left behind. One that cannot be dropped yet stays listed, and holds up nobody."""
    try:
        await runs.forget(handle)
    except Exception:
        log.exception("what is left of %s cannot be removed yet", handle.lease)


def _wanted(session: Session, purpose: str) -> list[Wanted]:
    # columns alone: whole rows of some thousand leases take longer than a pass should
    query = (
        select(
            Lease.id,
            Lease.claimed_at,
            Lease.granted_at,
            Lease.until,
            Lease.end_reason,
            Environment.held_until,
        )
        .outerjoin(Environment, Environment.lease_id == Lease.id)
        .where(Lease.ended_at.is_(None), Lease.purpose == purpose)
    )
    return [
        Wanted(lease, claimed or held or granted, claimed is not None, until, reason)
        for lease, claimed, granted, until, reason, held in session.execute(query)
    ]

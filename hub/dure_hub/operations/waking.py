"""After a gap in which nobody looked, nothing ends for its time before people were told: the store's half of it.

The portal's last look is a row, so a gap is found by whoever looks next, once: the look that finds it moves the
ends in the transaction that writes the row. Looks are the reconciler's own and a tick of `BEAT_S` beside them, so
that a pass that takes long is no gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import environment_rows as rows
from dure_hub.operations.leading import last_awake, leads, note_awake
from dure_hub.operations.put_offs import VERB
from dure_hub.policies import waking
from dure_hub.policies.waking import Gap
from dure_hub.settings import Settings
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease, Login, Ticket, Token

log = logging.getLogger(__name__)

BEAT_S = 10.0
_LOOKS = 5
"""So many looks may be missed before that is a gap, where they are set far apart."""


def asleep_s() -> float:
    """How long this machine was suspended since its boot, in seconds; it only grows."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def is_due(session: Session, settings: Settings, now: datetime) -> bool:
    """Whether nobody looked for so long that the next look puts ends off: until then nothing ends for its time."""
    last = last_awake(session)
    return waking.gap(last, now, longest_s=_longest_s(settings)) is not None


def _longest_s(settings: Settings) -> float:
    return max(waking.LONGEST_LOOK_S, _LOOKS * settings.look_interval_s)


class Waking:
    """Finds gaps, and gives everybody their notice after one."""

    def __init__(
        self,
        settings: Settings,
        monotonic: Callable[[], float] = time.monotonic,
        asleep: Callable[[], float] = asleep_s,
    ) -> None:
        self._notice = timedelta(seconds=settings.wake_notice_s)
        self._idle_timeout_s = settings.idle_timeout_s
        self._longest_s = _longest_s(settings)
        self._closing = settings.folder.closing
        self._monotonic, self._asleep = monotonic, asleep
        self._last: tuple[datetime, float, float] | None = None

    def look(self, session: Session, holder: str, now: datetime) -> Gap | None:
        """Somebody looks now. Where nobody did for long, every end that is due or near is put off, with an event.

        Answers with the gap, if there was one; a notice of 0 seconds moves nothing. Only who leads looks, and
        nobody while `down` ends everything.
        """
        if self._closing.exists() or not leads(session, holder):
            return None
        before = last_awake(session)
        counted, asleep = self._monotonic(), self._asleep()
        mine = self._last if self._last is not None and self._last[0] == before else None
        found = waking.gap(
            before,
            now,
            counted_s=None if mine is None else counted - mine[1],
            asleep_s=None if mine is None else asleep - mine[2],
            longest_s=self._longest_s,
        )
        note_awake(session, holder, now)
        self._last = now, counted, asleep
        if found is not None and self._notice:
            self._put_off(session, found)
        return found

    def _put_off(self, session: Session, found: Gap) -> None:
        moved = self._leases(session, found)
        self._logins(session, found)
        servers = self._servers(session, found)
        waiting = self._tickets(session, found, bool(moved))
        log.warning(
            "nobody looked for %.0f s (%s): %s leases, %s servers and %s requests were put off",
            found.length.total_seconds(),
            found.cause,
            moved,
            servers,
            waiting,
        )

    def _leases(self, session: Session, found: Gap) -> int:
        """Every end that is due or near; the tokens of what runs under it end as much later."""
        near = found.wake + self._notice
        query = select(Lease).where(Lease.ended_at.is_(None), Lease.end_reason.is_(None), Lease.until < near)
        leases = session.scalars(query).all()
        for lease in leases:
            before = lease.until
            lease.until = waking.end_after(before, found.wake, self._notice)
            assert before is not None and lease.until is not None  # noqa: S101, PT018 - the query's
            for token in session.scalars(select(Token).where(Token.lease_id == lease.id)):
                token.expires_at += lease.until - before
            facts = _facts(found, before=before, until=lease.until)
            record(session, found.wake, PORTAL, "lease.put_off", f"lease:{lease.id}", facts, lease.owner)
            environment = rows.of_lease(session, lease)
            if environment is not None:
                thing = rows.thing(environment)
                record(session, found.wake, PORTAL, VERB, thing, facts, lease.owner)
        return len(leases)

    def _logins(self, session: Session, found: Gap) -> None:
        """Whose login is over: everything of theirs ends with that, whatever end its lease has."""
        near = found.wake + self._notice
        for row in session.scalars(select(Login).where(Login.ends_at < near, Login.ended_at.is_(None))):
            before = row.ends_at
            row.ends_at = waking.end_after(before, found.wake, self._notice)
            assert before is not None and row.ends_at is not None  # noqa: S101, PT018 - the query's
            facts = _facts(found, before=before, until=row.ends_at)
            record(session, found.wake, PORTAL, "login.put_off", f"user:{row.name}", facts, row.name)

    def _servers(self, session: Session, found: Gap) -> int:
        """Idleness and held turns, which end before their leases do."""
        timeout, moved = timedelta(seconds=self._idle_timeout_s), 0
        query = select(Environment).where(Environment.phase.in_((rows.RUNNING, rows.HELD)))
        for row in session.scalars(query):
            lease = rows.active_lease(session, row)
            if lease is None or lease.end_reason is not None:
                continue
            if row.phase == rows.HELD:
                held = waking.end_after(row.held_until, found.wake, self._notice)
                changed, row.held_until = held != row.held_until, held
            elif row.active_at is not None and timeout:
                used = waking.use_after(row.active_at, found.wake, self._notice, timeout)
                changed, row.active_at = used != row.active_at, used
            else:
                changed = False
            moved += changed
        return moved

    def _tickets(self, session: Session, found: Gap, moved: bool) -> int:
        """Who waits keeps the place and what was promised; the time of the gap is none that they waited in."""
        tickets = session.scalars(select(Ticket).where(Ticket.state == "waiting")).all()
        for ticket in tickets:
            ticket.since = waking.waits_after(ticket.since or ticket.asked_at, found)
            before = ticket.promised_at
            if before is not None:
                ticket.promised_at = waking.promise_after(before, found, moved, self._notice)
                facts = _facts(found, before=before, until=ticket.promised_at)
                thing = f"ticket:{ticket.id}"
                record(session, found.wake, PORTAL, "ticket.put_off", thing, facts, ticket.owner)
        return len(tickets)


def _facts(found: Gap, *, before: datetime, until: datetime) -> dict[str, Any]:
    facts = {
        "away_s": int(found.length.total_seconds()),
        "since": found.since.isoformat(),
        "before": before.isoformat(),
        "until": until.isoformat(),
    }
    return {"code": found.cause, "facts": facts}

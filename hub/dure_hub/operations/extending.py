"""Whether a server may have a later end beside those who wait: what they were promised goes before it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import budgets, line
from dure_hub.operations.errors import OthersWait
from dure_hub.operations.money_errors import over_budget
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet
from dure_hub.policies import extending, promises
from dure_hub.policies.cost import month
from dure_hub.policies.verdict import Verdict
from dure_hub.store.models import Lease, Ticket


def latest(
    session: Session, lease: Lease, wanted: datetime, fleet: Fleet, now: datetime
) -> tuple[datetime, list[datetime]]:
    """The latest end up to `wanted` that puts off no promised start; and those starts that `wanted` puts off."""
    promised = select(Ticket.id).where(Ticket.state == "waiting", Ticket.promised_at.is_not(None)).limit(1)
    if session.scalar(promised) is None:  # the usual case: no need to read the whole line
        return wanted, []
    queued = line.seen(session, fleet, now)
    return extending.latest_end(lease.id, wanted, *queued.asking())


def judge(session: Session, lease: Lease, asked: datetime, fleet: Fleet, now: datetime) -> Verdict:
    """The same of the end that is asked for, as a verdict: `nobody_put_off` or `others_wait`."""
    return promises.extension(asked, *latest(session, lease, asked, fleet, now))


def leave_room(session: Session, lease: Lease, until: datetime, fleet: Fleet, now: datetime) -> None:
    """Refuse an end that would put off what others were promised. Raises `OthersWait`."""
    verdict = judge(session, lease, until, fleet, now)
    if not verdict.allowed:
        raise OthersWait(**verdict.facts)


def pay_for(session: Session, person: Person, lease: Lease, until: datetime, now: datetime) -> None:
    """Refuse what the budgets of its team and project do not pay for; what lies in the next month is its own."""
    end = month(now)[1]
    added = min(until, end) - min(max(lease.until or now, now), end)
    paid = budgets.check(
        session,
        team=lease.team,
        project=lease.project,
        rate=lease.rate,
        lifetime_s=int(added.total_seconds()),
        now=now,
    )
    if not paid.allowed:
        raise over_budget(paid, person)

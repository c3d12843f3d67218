"""How requests stand: what users and teams hold and may hold, and how much they have had lately.

Everything here is read in the transaction that decides, so it is true as long as that lasts. What is over is kept
as sums (GPU time of a month, decayed use), made when a lease ends; what is held is added to them from its row.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import pauses
from dure_hub.operations.counters import ANYBODY, Key, add, month_of
from dure_hub.policies import fairshare
from dure_hub.policies.classes import TRAINING
from dure_hub.policies.cost import month
from dure_hub.policies.preemption import Holder
from dure_hub.policies.quota import Quota, Use, check_start
from dure_hub.policies.slices import WHOLE
from dure_hub.policies.verdict import Verdict
from dure_hub.store import models
from dure_hub.store.models import Counter, Lease, Pause, Share

GPU_US = "gpu_us"
"""What `counters` call the GPU time of leases that have ended, in microseconds times thousandths of GPUs."""
_US = timedelta(microseconds=1)


@dataclass
class Standing:
    """Quotas, what counts against them, and decayed use, of everybody."""

    now: datetime
    borrowing: bool
    quotas: dict[Holder, Quota] = field(default_factory=dict)
    use: dict[Holder, Use] = field(default_factory=dict)
    lately: dict[Holder, float] = field(default_factory=dict)

    def judge(self, owner: str, team: str | None, gpus: int, queue_class: int) -> Verdict:
        """Whether so many thousandths of GPUs may be granted now by the quotas of user and team.

        A user's quota is a ceiling. A team's is one too, but for training where `borrowing` is on: beyond it, that
        runs as long as nobody inside their quota needs the room (`beyond_quota`).
        """
        found = Verdict.yes("within_quota")
        refused: Verdict | None = None
        for holder in holders(owner, team):
            beyond = self.borrowing and holder[0] == "team" and queue_class == TRAINING
            verdict = check_start(self.quota(holder), self._use(holder), gpus, self.now, beyond=beyond)
            if not verdict.allowed and (refused is None or refused.code == "quota_gpus"):
                refused = verdict  # what lasts longest is told: GPUs come back with the end of a lease
            if verdict.code == "beyond_quota":
                found = verdict
        return refused or found

    def take(self, owner: str, team: str | None, gpus: int) -> None:
        """Count a grant of this transaction."""
        for holder in holders(owner, team):
            use = self._use(holder)
            self.use[holder] = replace(use, gpus=use.gpus + gpus)

    def quota(self, holder: Holder) -> Quota:
        """A holder's own quota, or that of everybody of its kind, or one without limits."""
        found = self.quotas.get(holder) or self.quotas.get((holder[0], ANYBODY)) or Quota()
        return replace(found, kind=holder[0], name=holder[1])

    def share(self, holder: Holder) -> float:
        """Its decayed use beside what it is entitled to: its quota's GPUs, where it has one above 0."""
        return fairshare.share(self.lately.get(holder, 0.0), self.quota(holder).gpus or 1)

    def guaranteed(self, asking: Iterable[Holder] = ()) -> dict[Holder, int | None]:
        """Thousandths of GPUs that no team is asked to give back; of `asking` too, who may hold nothing yet."""
        teams = {holder for holder in (*self.quotas, *self.use, *asking) if holder[0] == "team"}
        limits = {holder: self.quota(holder).gpus for holder in teams}
        return {holder: None if gpus is None else gpus * WHOLE for holder, gpus in limits.items()}

    def _use(self, holder: Holder) -> Use:
        return self.use.get(holder, Use())


def standing(session: Session, now: datetime, *, borrowing: bool) -> Standing:
    """How everybody stands at this moment."""
    found = Standing(now, borrowing)
    for row in session.scalars(select(models.Quota)):
        found.quotas[row.kind, row.name] = Quota(
            row.gpus, row.gpu_hours_month, row.api_calls_day, row.upload_mb_month
        )
    query = select(Counter).where(Counter.what == GPU_US, Counter.period == month_of(now))
    for counted in session.scalars(query):
        found.use[counted.kind, counted.subject] = Use(gpu_us=counted.value // WHOLE)
    for share in session.scalars(select(Share)):
        found.lately[share.kind, share.name] = fairshare.decay(share.gpu_seconds, now - share.at)
    since = month(now)[0]
    # columns alone: whole rows of some thousand leases take longer than a decision should
    held = select(Lease.owner, Lease.team, Lease.gpus, Lease.granted_at).where(
        Lease.ended_at.is_(None), Lease.gpus > 0
    )
    sums: dict[tuple[str, str | None], list[tuple[int, int, float]]] = {}
    # the few in which something was not charged are seen to by what they were not
    for owner, team, gpus, begun, until in _unpaid(session, now):
        less_us = gpus * ((until - max(begun, since)) // _US) // WHOLE if until > since else 0
        less = fairshare.held(gpus / WHOLE, begun, until, now)
        sums.setdefault((owner, team), []).append((0, -less_us, -less))
    for owner, team, gpus, granted_at in session.execute(held):
        gpu_us = gpus * ((now - max(granted_at, since)) // _US) // WHOLE
        seconds = fairshare.held(gpus / WHOLE, granted_at, None, now)
        sums.setdefault((owner, team), []).append((gpus, max(gpu_us, 0), seconds))
    for (owner, team), held_now in sums.items():
        gpus, gpu_us, lately = (sum(column) for column in zip(*held_now, strict=True))
        for holder in holders(owner, team):
            use = found.use.get(holder, Use())
            found.use[holder] = replace(use, gpus=use.gpus + int(gpus), gpu_us=use.gpu_us + int(gpu_us))
            found.lately[holder] = found.lately.get(holder, 0.0) + lately
    return found


def settle(session: Session, lease: Lease) -> None:
    """Add a lease that has just ended to the sums of its user and team: once, in the transaction of its end."""
    if not lease.gpus or lease.ended_at is None:
        return
    who = holders(lease.owner, lease.team)
    end = lease.ended_at
    free = pauses.spans(session, {lease.id: end}).get(lease.id, ())
    months = Tally(_months(lease.gpus, lease.granted_at, end))
    for since, until in free:
        months.subtract(_months(lease.gpus, since, until))
    add(session, {Key(*holder, GPU_US, period): value for period, value in months.items() for holder in who})
    seconds = fairshare.held(lease.gpus / WHOLE, lease.granted_at, end, end)
    seconds -= sum(fairshare.held(lease.gpus / WHOLE, since, until, end) for since, until in free)
    for kind, name in who:
        share = session.get(Share, (kind, name))
        if share is None:
            share = Share(kind=kind, name=name, gpu_seconds=0.0, at=lease.ended_at)
            session.add(share)
        share.gpu_seconds = fairshare.decay(share.gpu_seconds, lease.ended_at - share.at) + seconds
        share.at = max(share.at, lease.ended_at)


def holders(owner: str, team: str | None) -> tuple[Holder, ...]:
    """Whose quotas count for them."""
    return (("user", owner),) if team is None else (("user", owner), ("team", team))


def claimant(owner: str, team: str | None) -> Holder:
    """Whose guarantee it is: the team's, or the user's own without one."""
    return ("user", owner) if team is None else ("team", team)


def _months(gpus: int, start: datetime, end: datetime) -> dict[str, int]:
    """The GPU time of a span by month, in microseconds times thousandths."""
    found: dict[str, int] = {}
    while start < end:
        until = min(month(start)[1], end)
        found[month_of(start)] = gpus * ((until - start) // _US)
        start = until
    return found


def _unpaid(session: Session, now: datetime) -> Iterable[tuple[str, str | None, int, datetime, datetime]]:
    """What of active leases is not charged: owner, team, thousandths of GPUs, from when until when."""
    query = (
        select(Lease.id, Lease.owner, Lease.team, Lease.gpus)
        .join(Pause, Pause.lease_id == Lease.id)
        .where(Lease.ended_at.is_(None), Lease.gpus > 0)
        .distinct()
    )
    rows = session.execute(query).all()
    free = pauses.spans(session, {row.id: now for row in rows})
    for row in rows:
        for begun, until in free.get(row.id, ()):
            yield row.owner, row.team, row.gpus, begun, until

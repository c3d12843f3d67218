"""Room that is taken back: from training beyond its team's quota, and from training that ran very long.

Both are told to end and given their time to write a checkpoint; what they do afterwards is in `jobruns`. All of it
is decided in the transaction that grants, after everybody who may start has started.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import admission, line
from dure_hub.operations.line import Line
from dure_hub.operations.profiles import Fleet
from dure_hub.operations.standing import claimant
from dure_hub.policies import preemption, queue
from dure_hub.policies.board import Board
from dure_hub.policies.preemption import Asking, Preemption, Running
from dure_hub.policies.verdict import Verdict
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Ticket

RECLAIMED, RAN_LONG = "reclaimed", "ran_long"
"""Why such a lease ends."""
_TICKETS = 3
"""How many tickets of one pass may take room back: each looks through all leases."""


def reclaim(session: Session, fleet: Fleet, now: datetime) -> list[Preemption]:
    """Take room back for those who wait inside their quota, first in line first; what was decided for each.

    A ticket for which leases were told to end keeps their room: it goes before everybody until it is granted.
    """
    queued = line.read(session, fleet, now)
    if not queued.waiting:
        return []
    found = []
    leases = [_running(lease) for lease in line.active(session) if lease.parent is None]
    board = queued.board()
    for waiting in queue.order(queued.waiting)[:_TICKETS]:
        ticket = session.get_one(Ticket, waiting.id)
        spec = fleet.profile(ticket.profile)
        asking = Asking(
            ticket.id,
            spec,
            ticket.queue_class,
            claimant(ticket.owner, ticket.team),
            line.gpus_of(spec, fleet),
            waiting.wish,
        )
        decided = preemption.preempt(
            asking,
            leases,
            queued.standing.guaranteed(),
            board,
            now,
            min_run_s=fleet.rules.min_run_s,
            notice_s=int(fleet.rules.notice_s),
        )
        found.append(decided)
        if not decided.verdict.allowed:
            continue
        ticket.reclaims = True
        facts = decided.verdict.to_json()
        record(session, now, PORTAL, "ticket.reclaim", f"ticket:{ticket.id}", facts, ticket.owner)
        for victim in decided.victims:
            _take_back(session, victim.id, RECLAIMED, now, fleet)
        leases = [_running(lease) for lease in line.active(session) if lease.parent is None]
    return found


def end_long_training(session: Session, fleet: Fleet, now: datetime) -> list[tuple[Lease, Verdict]]:
    """Have training that ran for a day write a checkpoint and wait again, where somebody waits for its room."""
    found = []
    queued: Line | None = None
    for lease in line.active(session):
        if lease.purpose != admission.TRAINING or lease.end_reason is not None or lease.parent is not None:
            continue
        verdict = preemption.due_for_checkpoint(lease.granted_at, now)
        if not verdict.allowed:
            continue
        queued = queued or line.read(session, fleet, now)
        if _waited_for(lease, queued):
            _take_back(session, lease.id, RAN_LONG, now, fleet)
            found.append((lease, verdict))
    return found


def _waited_for(lease: Lease, queued: Line) -> bool:
    """Whether somebody who waits would fit if this lease were over."""
    board = queued.board()
    slices = line.slices_of(lease)
    before = {one.id for one in queued.waiting if _fits(one, queued, board)}
    board.give_back(slices)
    return any(one.id not in before and _fits(one, queued, board) for one in queued.waiting)


def _fits(one: queue.Waiting, queued: Line, board: Board) -> bool:
    return board.place(queued.fleet.profile(one.profile), one.wish).verdict.allowed


def _take_back(session: Session, lease_id: str, reason: str, now: datetime, fleet: Fleet) -> None:
    lease = session.scalars(select(Lease).where(Lease.id == lease_id)).one()
    admission.ask_end(session, lease, reason, now)
    # the look ahead counts on it: it is over at the latest when its time for a checkpoint is
    end = now + timedelta(seconds=fleet.rules.notice_s)
    lease.until = end if lease.until is None else min(lease.until, end)


def _running(lease: Lease) -> Running:
    return Running(
        lease.id,
        line.slices_of(lease),
        lease.queue_class,
        lease.purpose,
        claimant(lease.owner, lease.team),
        lease.granted_at,
        lease.gpus,
        preemptible=lease.purpose == admission.TRAINING,
        ending=lease.end_reason is not None,
    )

"""Room that is taken back: from training beyond its team's quota, and from training that ran very long.

Both are told to end and given their time to write a checkpoint; what they do afterwards is in `jobruns`. All of it
is decided in the transaction that grants, after everybody who may start has started.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import admission, line
from dure_hub.operations.line import Line
from dure_hub.operations.profiles import Fleet, slices_of
from dure_hub.operations.standing import claimant
from dure_hub.policies import preemption
from dure_hub.policies.board import Board
from dure_hub.policies.order import Waiting
from dure_hub.policies.preemption import Asking, Preemption, Running
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Ticket

RECLAIMED, RAN_LONG = "reclaimed", "ran_long"
"""Why such a lease ends."""


def reclaim(session: Session, fleet: Fleet, now: datetime) -> list[Preemption]:
    """Take room back for those who wait inside their quota, first in line first; what was decided for each.

    A ticket for which leases were told to end keeps their room: it goes before everybody until it is granted.
    """
    queued = line.read(session, fleet, now)
    if not queued.waiting:
        return []
    leases = [_running(lease) for lease in line.active(session) if lease.parent is None]
    board = queued.board()
    found: list[Preemption] = []
    tried: set[tuple[object, ...]] = set()
    for waiting in queued.in_order():
        ticket = queued.tickets[waiting.id]
        asking = _asking(ticket, waiting, fleet)
        kind = (ticket.profile, waiting.wish, ticket.queue_class, asking.holder)
        if kind in tried:  # whoever is alike would be told the same
            continue
        decided = preemption.preempt(
            asking,
            leases,
            queued.standing.guaranteed([asking.holder]),
            board,
            now,
            min_run_s=fleet.rules.min_run_s,
            notice_s=int(fleet.rules.notice_s),
        )
        found.append(decided)
        if not decided.verdict.allowed:
            tried.add(kind)
            continue
        ticket.reclaims = True
        facts = decided.verdict.to_json()
        record(session, now, PORTAL, "ticket.reclaim", f"ticket:{ticket.id}", facts, ticket.owner)
        for victim in decided.victims:
            _take_back(session, victim.id, RECLAIMED, now, fleet)
        # what comes next is decided in the next pass, when these are counted as ending
        return found
    return found


def end_long_training(session: Session, fleet: Fleet, now: datetime) -> list[Lease]:
    """Have training that ran for a day write a checkpoint and wait again, where somebody waits for its room.

    No more end than those who wait can use, what ends already included.
    """
    leases = [lease for lease in line.active(session) if lease.parent is None]
    due = [
        lease
        for lease in leases
        if lease.purpose == admission.TRAINING
        and lease.end_reason is None
        and preemption.due_for_checkpoint(lease.granted_at, now).allowed
    ]
    if not due:
        return []
    queued = line.read(session, fleet, now)
    board = queued.board()
    for lease in leases:
        if lease.end_reason is not None:
            board.give_back(slices_of(lease))
    ended = {running.id for running in _make_room(queued, [_running(lease) for lease in due], board)}
    found = [lease for lease in due if lease.id in ended]
    for lease in found:
        _take_back(session, lease.id, RAN_LONG, now, fleet)
    return found


def _make_room(queued: Line, due: Sequence[Running], board: Board) -> list[Running]:
    """Those of these that must end for whoever waits, in order, and is helped by it; the longest-running first."""
    found: list[Running] = []
    hopeless: set[tuple[object, ...]] = set()
    for one in queued.in_order():
        spec, wish = queued.fleet.profile(one.profile), one.wish
        kind = (spec.name, wish.pool, wish.apart, wish.team if spec.share else None)
        if kind in hopeless:
            continue
        placed = board.place(spec, one.wish)
        if not placed.verdict.allowed:
            left = [lease for lease in due if lease not in found]
            victims = preemption.fewest(spec, one.wish, left, board)
            if victims is None:
                hopeless.add(kind)
                continue
            for lease in victims:
                board.give_back(lease.slices)
            found += victims
            placed = board.place(spec, one.wish)
        board.take(placed.slices)
    return found


def _asking(ticket: Ticket, waiting: Waiting, fleet: Fleet) -> Asking:
    spec = fleet.profile(ticket.profile)
    holder = claimant(ticket.owner, ticket.team)
    return Asking(ticket.id, spec, ticket.queue_class, holder, line.gpus_of(spec, fleet), waiting.wish)


def _take_back(session: Session, lease_id: str, reason: str, now: datetime, fleet: Fleet) -> None:
    lease = session.scalars(select(Lease).where(Lease.id == lease_id)).one()
    admission.ask_end(session, lease, reason, now)
    # the look ahead counts on it: it is over at the latest when its time for a checkpoint is
    end = now + timedelta(seconds=fleet.rules.notice_s)
    lease.until = end if lease.until is None else min(lease.until, end)


def _running(lease: Lease) -> Running:
    return Running(
        lease.id,
        slices_of(lease),
        lease.queue_class,
        lease.purpose,
        claimant(lease.owner, lease.team),
        lease.granted_at,
        lease.gpus,
        preemptible=lease.purpose == admission.TRAINING,
        ending=lease.end_reason is not None,
    )

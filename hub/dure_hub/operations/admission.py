"""Who gets a slice: decided and written in one transaction, for environments, jobs and model servers alike.

Every function takes the session of a transaction that its caller began (`store.transaction()`), because the
caller's own row changes with it. A ticket becomes at most one lease. A lease counts until `end_lease`: who wants
it to end says so with `ask_end`, and the reconciler ends it once nothing of it runs any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dure.errors import Conflict
from dure.wire.ids import new_id
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import closures, line, login_rows, own_server
from dure_hub.operations.disk_errors import NoRoomOnDisk
from dure_hub.operations.errors import NeverFits, NotInPool
from dure_hub.operations.granted import NOT_ADMITTED, ticket_of, was_refused
from dure_hub.operations.line import Line
from dure_hub.operations.money_errors import over_budget, quota_too_small
from dure_hub.operations.profiles import Fleet
from dure_hub.operations.standing import settle
from dure_hub.policies import classes
from dure_hub.policies.board import Board
from dure_hub.policies.ends import End
from dure_hub.policies.slices import Placement, Wish
from dure_hub.policies.verdict import Verdict
from dure_hub.store.events import PORTAL, on_behalf, record
from dure_hub.store.models import Lease, Ticket, Token

NOTEBOOK, TRAINING, SERVING, SCHEDULE = "notebook", "training", "serving", "schedule"
"""The purposes of leases."""
HERE = (NOTEBOOK, TRAINING, SERVING, SCHEDULE)
"""Those of what runs here, and writes to this portal's disk."""


def admit(
    session: Session,
    *,
    ticket_id: str,
    owner: str,
    purpose: str,
    subject: str,
    profile: str,
    lifetime_s: int | None,
    now: datetime,
    fleet: Fleet,
    team: str | None = None,
    project: str | None = None,
    queue_class: int | None = None,
    priority: int = 0,
    actor: str | None = None,
) -> Lease | Ticket:
    """A lease if it may start now by the queue's rules, else the ticket that waits; its verdict says for what.

    The same `ticket_id` sent twice is one request and answers with what became of it. `lifetime_s` None is a lease
    without an end. `queue_class` is the usual one of the purpose where none is said. The profile `mine` is the
    slice of the owner's own server (`own_server`). Raises `NoSuchProfile`, `NeverFits`, `NotInPool`, `OverBudget`,
    `HomeElsewhere`, `QuotaTooSmall`, `NoOwnServer`, `NoRoomOnDisk`, `LoginEnded`, and then writes nothing.
    """
    known = _known(session, ticket_id, owner, subject)
    if known is not None:
        return known
    _may_ask(session, fleet, owner, purpose)
    ticket = Ticket(
        id=ticket_id,
        owner=owner,
        team=team,
        project=project,
        purpose=purpose,
        subject=subject,
        profile=profile,
        lifetime_s=lifetime_s,
        priority=priority,
        queue_class=classes.class_of(purpose) if queue_class is None else queue_class,
        reclaims=False,
        state="waiting",
        verdict={},
        asked_at=now,
    )
    asked = (actor or owner, "ticket.ask", f"ticket:{ticket_id}")
    behalf = owner if actor else None
    if profile == own_server.MINE:
        record(session, now, *asked, on_behalf_of=behalf)
        return own_server.grant(session, ticket, now)
    queued = line.read(session, fleet, now)
    check(session, ticket, queued)
    session.add(ticket)
    session.flush()
    record(session, now, *asked, on_behalf_of=behalf)
    queued.add(ticket, session)
    placed = None if fleet.away else queued.turn(ticket)
    if placed is not None:
        return _grant(session, ticket, placed, fleet, now)
    _explain(queued, [ticket_id])
    return ticket


def _may_ask(session: Session, fleet: Fleet, owner: str, purpose: str) -> None:
    """Refuse whose login has ended, and what would write to a disk that is nearly full."""
    login_rows.refuse_if_gone(session, owner, purpose)
    _has_room(fleet, purpose)


def _has_room(fleet: Fleet, purpose: str) -> None:
    if fleet.full is not None and purpose in HERE:
        raise NoRoomOnDisk(**fleet.full.facts)


def _known(session: Session, ticket_id: str, owner: str, subject: str) -> Lease | Ticket | None:
    """What became of a request that was made before; refuses an id that somebody else's has."""
    known = session.get(Ticket, ticket_id)
    if known is None:
        return None
    if (known.owner, known.subject) != (owner, subject):
        raise Conflict(kind="id", name=ticket_id, rule="another request has it")
    lease = session.get(Lease, known.lease_id) if known.lease_id else None
    return lease or known


def check(session: Session, ticket: Ticket, queued: Line) -> None:
    """Refuse what waiting would not help. Raises as `admit`."""
    fleet = queued.fleet
    _has_room(fleet, ticket.purpose)
    spec = fleet.profile(ticket.profile)
    pool = line.wish_of(session, ticket, fleet, frozenset()).pool
    if not fleet.capacity.fits(spec, pool):
        if pool and fleet.capacity.fits(spec):
            raise NotInPool(profile=ticket.profile, pool=pool)
        raise NeverFits(profile=ticket.profile)
    verdict = queued.standing.judge(ticket.owner, ticket.team, line.gpus_of(spec, fleet), ticket.queue_class)
    if not verdict.allowed and not verdict.facts.get("waits", True):
        raise quota_too_small(verdict)
    queued.need_home(ticket, pool)
    paid = queued.paid(ticket)
    if not paid.allowed:
        raise over_budget(paid)


def grant_waiting(session: Session, fleet: Fleet, now: datetime) -> list[tuple[Ticket, Lease]]:
    """Grant every ticket that may start now, in the queue's order. The caller updates the subjects' rows.

    Those that may not are told why: no room, others before them, their quota, or that all is away. Every grant may
    let somebody else start: it makes a promise safe, or uses up a quota that room was kept for. So it looks until
    nobody may.
    """
    granted: list[tuple[Ticket, Lease]] = []
    again, full = True, fleet.full
    while again:
        queued, again = line.read(session, fleet, now), False
        for start in () if fleet.away else queued.startable():
            ticket = queued.tickets[start.ticket.id]
            if full is not None and ticket.purpose in HERE:
                continue
            if queued.judge(ticket).allowed:
                granted.append((ticket, _grant(session, ticket, start.placement, fleet, now)))
                queued.take(ticket)
            again = True  # refused, too: a grant before it has used its quota up, and its room is for others
    _explain(queued, queued.tickets)
    for ticket in queued.tickets.values():
        if full is not None and ticket.purpose in HERE and not queued.is_refused(ticket):
            ticket.verdict = full.to_json()  # what it would wait for else is told again once there is room
    return granted


def _explain(queued: Line, tickets: Iterable[str]) -> None:
    """Write what each of these waits for: its quota, a profile that is away, room, or others before it."""
    board = queued.board()
    wishes = {one.id: one for one in queued.waiting}
    queued.promise()
    for ticket_id in tickets:
        ticket = queued.tickets[ticket_id]
        verdict = queued.stopped.get(ticket_id)
        if verdict is None:
            spec = queued.fleet.profile(ticket.profile)
            verdict = board.place(spec, wishes[ticket_id].wish).verdict
            no_node = queued.turned_away.on(ticket.profile, wishes[ticket_id].wish.nodes)
            if no_node is not None and not verdict.allowed:
                verdict = no_node
            elif not verdict.allowed and (shut := queued.fleet.barred.facts(spec, verdict.code)):
                verdict = replace(verdict, facts={**verdict.facts, **shut})
        if ticket_id in queued.stopped:
            ticket.reclaims = False  # the room is not for whoever may not have it
        if verdict.allowed:
            verdict = Verdict.no("others_wait_longer", profile=ticket.profile)
        elif ticket_id in wishes and _only_own_server(ticket, queued, board, wishes[ticket_id].wish):
            verdict = Verdict.no("own_notebook_holds", profile=ticket.profile)
        away = queued.fleet.away and not queued.is_refused(ticket)  # whose verdict is the record of its pause
        ticket.verdict = (Verdict.no("place_away") if away else verdict).to_json()


def _only_own_server(ticket: Ticket, queued: Line, board: Board, wish: Wish) -> bool:
    """Whether it would fit if its owner's own servers were over."""
    own = queued.notebooks.get(ticket.owner)
    if not own:
        return False
    board.give_back(own)
    fits = board.place(queued.fleet.profile(ticket.profile), wish).verdict.allowed
    board.take(own)
    return fits


def ask_end(session: Session, lease: Lease, reason: str, now: datetime, actor: str = PORTAL) -> bool:
    """Want this lease to end, because of `reason`; the reconciler stops what runs and then ends it.

    False if it has ended or was already asked to.
    """
    if lease.ended_at is not None or lease.end_reason is not None:
        return False
    lease.end_reason = reason
    facts = {"code": reason}
    record(session, now, actor, "lease.stop", f"lease:{lease.id}", facts, on_behalf(actor, lease.owner))
    _end_children(session, lease, now)
    return True


def end_lease(
    session: Session,
    lease_id: str,
    reason: str,
    now: datetime,
    actor: str = PORTAL,
    *,
    at: End | None = None,
) -> Lease | None:
    """Give its slices back and revoke its tokens, now. Only once nothing of it runs.

    `at` is when that was, where it is known to have been before now, or not known exactly.

    None if it is unknown or had ended, or where work of `profile="mine"` still uses its slices; that is asked to
    end, and the next pass ends this. Where somebody asked it to end before, that reason stays. What was not let in
    counts and costs nothing: it ends when it was granted.
    """
    lease = session.get(Lease, lease_id)
    if lease is None or lease.ended_at is not None:
        return None
    if _end_children(session, lease, now):  # its slices are still in use: a later pass ends it
        lease.end_reason = lease.end_reason or reason
        return None
    lease.end_reason = lease.end_reason or reason
    when = _with_children(session, lease, at or End(now))
    if was_refused(session, lease):
        when = End(lease.granted_at)
    lease.ended_at, lease.uncertain_s = when.at, when.uncertain_s
    settle(session, lease)
    live = update(Token).where(Token.lease_id == lease.id, Token.revoked_at.is_(None))
    session.execute(live.values(revoked_at=now))
    facts = {"code": lease.end_reason, "at": when.at.isoformat(), "uncertain_s": when.uncertain_s}
    record(session, now, actor, "lease.end", f"lease:{lease.id}", facts, on_behalf(actor, lease.owner))
    return lease


def requeue(session: Session, lease: Lease, lifetime_s: int | None, now: datetime) -> Ticket:
    """A ticket for the work of a lease that has ended before its work had; the caller updates the subject's row.

    What was reclaimed or not let in keeps the time it asked at, and so its place; what ran long waits from now on.
    What was not let in has waited since it asked, and keeps why it was not.
    """
    before = ticket_of(session, lease)
    back = before if lease.end_reason == NOT_ADMITTED else None
    keeps = before is not None and lease.end_reason in (
        "reclaimed",
        closures.FAULTY,
        closures.DRAINED,
        NOT_ADMITTED,
    )
    ticket = Ticket(
        id=new_id(),
        owner=lease.owner,
        team=lease.team,
        project=lease.project,
        purpose=lease.purpose,
        subject=lease.subject,
        profile=lease.profile,
        lifetime_s=lifetime_s,
        priority=before.priority if before is not None else 0,
        queue_class=lease.queue_class,
        reclaims=False,
        state="waiting",
        verdict=dict(back.verdict) if back is not None else {},
        asked_at=before.asked_at if before is not None and keeps else now,
        since=back.since if back is not None else now,
    )
    session.add(ticket)
    session.flush()
    facts = {"lease": lease.id, "code": lease.end_reason}
    record(session, now, PORTAL, "ticket.requeue", f"ticket:{ticket.id}", facts, lease.owner)
    return ticket


def cancel(session: Session, ticket_id: str, state: str, now: datetime, actor: str = PORTAL) -> Ticket | None:
    """End a waiting ticket as `cancelled`, `refused` or `expired`. None if it does not wait."""
    ticket = session.get(Ticket, ticket_id)
    if ticket is None or ticket.state != "waiting":
        return None
    ticket.state, ticket.decided_at = state, now
    record(session, now, actor, f"ticket.{state}", f"ticket:{ticket.id}", None, on_behalf(actor, ticket.owner))
    return ticket


def devices(lease: Lease) -> tuple[str, ...]:
    """The UUIDs of the GPUs a lease holds, whole or in part."""
    return tuple(dict.fromkeys(str(piece["device"]) for piece in lease.slices if piece["device"] != "cpu"))


def visible(lease: Lease) -> tuple[str, ...]:
    """The UUIDs that what runs under a lease is shown: whole or shared GPUs, and its own MIG instances.

    A MIG instance that is not made yet has none: its GPU's own would show all of the others' instances.
    """
    shown = (piece.get("visible") if piece.get("mig") else piece["device"] for piece in lease.slices)
    return tuple(str(uuid) for uuid in shown if uuid not in (None, "cpu"))


def node(lease: Lease) -> str | None:
    """The node on which a lease holds its slices; None where there is but one."""
    return next((str(piece["node"]) for piece in lease.slices if piece.get("node")), None)


def mps(lease: Lease) -> tuple[int, int | None] | None:
    """What MPS keeps a holder of a share to: thousandths of the processors, MiB of memory; None without MPS."""
    shares = [(int(piece["share"]), piece["mps_mb"]) for piece in lease.slices if "mps_mb" in piece]
    return shares[0] if shares else None


def cores(lease: Lease) -> float | None:
    """Cores that a lease holds; None where its slices do not say."""
    found = [float(piece["cpu_cores"]) for piece in lease.slices if "cpu_cores" in piece]
    return sum(found) if found else None


def memory_mb(lease: Lease) -> int | None:
    """Memory (MiB) that a lease holds; None where its slices do not say."""
    found = [int(piece["memory_mb"]) for piece in lease.slices if "memory_mb" in piece]
    return sum(found) if found else None


def _end_children(session: Session, lease: Lease, now: datetime) -> bool:
    """Ask what runs on this lease's slices to end; whether there is any."""
    query = select(Lease).where(Lease.parent == lease.id, Lease.ended_at.is_(None))
    children = session.scalars(query).all()
    for child in children:
        ask_end(session, child, own_server.ENDED, now)
    return bool(children)


def _with_children(session: Session, lease: Lease, own: End) -> End:
    """The end of a lease and of what ran on its slices, which used them until then."""
    query = select(Lease).where(Lease.parent == lease.id, Lease.ended_at.is_not(None))
    at, latest = own.at, own.at + timedelta(seconds=own.uncertain_s)
    for child in session.scalars(query):
        assert child.ended_at is not None  # noqa: S101 - asked for
        at = max(at, child.ended_at)
        latest = max(latest, child.ended_at + timedelta(seconds=child.uncertain_s))
    return End(at, int((latest - at).total_seconds()))


def _by_mps(spec: ProfileSpec) -> dict[str, int | None]:
    return {"mps_mb": spec.gpu_memory_mb} if spec.sharing == "mps" else {}


def _grant(session: Session, ticket: Ticket, placed: Placement, fleet: Fleet, now: datetime) -> Lease:
    spec = fleet.profile(ticket.profile)
    lease = Lease(
        id=new_id(),
        owner=ticket.owner,
        team=ticket.team,
        project=ticket.project,
        purpose=ticket.purpose,
        subject=ticket.subject,
        profile=ticket.profile,
        slices=[piece.to_json() | _by_mps(spec) for piece in placed.slices],
        rate=spec.rate,
        queue_class=ticket.queue_class,
        gpus=line.gpus_of(spec, fleet),
        granted_at=now,
        until=None if ticket.lifetime_s is None else now + timedelta(seconds=ticket.lifetime_s),
        handle={},
    )
    session.add(lease)
    ticket.verdict = placed.verdict.to_json()
    ticket.state, ticket.decided_at, ticket.lease_id = "granted", now, lease.id
    session.flush()  # the next placement in this transaction must count it
    # with what it holds: the events alone tell who held what at any time
    facts = {**placed.verdict.facts, "ticket": ticket.id, "team": lease.team, "slices": lease.slices}
    told = {**ticket.verdict, "facts": facts}
    record(session, now, PORTAL, "lease.grant", f"lease:{lease.id}", told, ticket.owner)
    return lease

"""The queue as it stands in the store: tickets and leases as the policies see them, read in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, event, select
from sqlalchemy.orm import Session, UOWTransaction, aliased

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import closures
from dure_hub.operations.budgets import Purse, purse
from dure_hub.operations.errors import HomeElsewhere
from dure_hub.operations.granted import NOT_ADMITTED
from dure_hub.operations.profiles import Fleet, slices_of
from dure_hub.operations.standing import Standing, claimant, holders, standing
from dure_hub.policies import order, queue, refused
from dure_hub.policies.board import Board, named
from dure_hub.policies.ceilings import Holder
from dure_hub.policies.classes import POOL_OF_CLASS, POOLS, TRAINING
from dure_hub.policies.order import Waiting
from dure_hub.policies.placement import Slice
from dure_hub.policies.promises import told
from dure_hub.policies.queue import Ahead, Held, Start
from dure_hub.policies.quota import thousandths
from dure_hub.policies.slices import WHOLE, Placement, Wish
from dure_hub.policies.verdict import Verdict
from dure_hub.store.models import Lease, Replica, Ticket

_SEEN = "dure.line"
_LATELY = timedelta(days=1)  # longer than a start, its waiting for a node, and the pause after that
Asking = tuple[
    Sequence[Waiting],
    Sequence[Held],
    Mapping[str, ProfileSpec],
    Sequence[Machine],
    datetime,
    Mapping[Holder, int],
]


@dataclass
class Line:
    """Who waits (`tickets` are their rows, by id), who holds what, and how everybody stands.

    `stopped` are tickets that wait for something else than room, by id: their quota, a budget, or a profile that
    is away. They are in nobody's way; but those that wait for GPUs of their quota (`held_up`) are looked ahead
    for, and nobody takes the room that they need then. `waiting` are the others, `everyone` is all.
    """

    fleet: Fleet
    standing: Standing
    purse: Purse
    now: datetime
    tickets: dict[str, Ticket] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    everyone: list[Waiting] = field(default_factory=list)
    held_up: list[Waiting] = field(default_factory=list)
    """Those of `stopped` that wait for GPUs of their quota: when these come back is known."""
    paused: list[Waiting] = field(default_factory=list)
    """Those of `stopped` that the cluster has refused; they keep their places, and no room."""
    turned_away: refused.Refusals = field(default_factory=refused.Refusals)
    """What the cluster has refused, and is not asked for again yet."""
    held: list[Held] = field(default_factory=list)
    stopped: dict[str, Verdict] = field(default_factory=dict)
    notebooks: dict[str, list[Slice]] = field(default_factory=dict)
    """What each person's own servers hold."""
    _settled: set[str] = field(default_factory=set)
    """Whose home is on a node since this was read."""
    _ahead: Ahead | None = None
    _expected: Mapping[str, datetime | None] | None = None
    _places: Mapping[str, int] | None = None
    _free: Board | None = None

    def startable(self) -> list[Start]:
        """Everybody who may start now, in order."""
        found = queue.startable(*self.asking(), ahead=self.ahead())
        return [start for start in found if start.ticket.id not in self.stopped]

    def ahead(self) -> Ahead:
        """The order, and the latest start of each; reckoned once."""
        if self._ahead is None:
            self._ahead = queue.look_ahead(*self.asking())
        return self._ahead

    def turn(self, ticket: Ticket) -> Placement | None:
        """Where this ticket may start now; None if it may not.

        Nor may it while one before it that wants the same has yet to be granted: that one is served first.
        """
        for start in self.startable():
            if start.ticket.id == ticket.id:
                return start.placement
            if start.ticket.profile == ticket.profile:
                return None
        return None

    def expected(self) -> Mapping[str, datetime | None]:
        """What each who waits for room, or for GPUs of a quota, may be told: the start at the latest."""
        if self._expected is None:
            self._expected = self._told()
        return self._expected

    def _told(self) -> Mapping[str, datetime | None]:
        promised = {one.id: one.promised for one in self.everyone}
        patience = timedelta(seconds=self.fleet.rules.timeout_s)
        found = {}
        for key, at in self.ahead().starts.items():
            ticket = self.tickets[key]
            found[key] = told(promised[key], at, self.now, (ticket.since or ticket.asked_at) + patience)
        return found

    def promise(self) -> None:
        """Write down what is told from now on of those who were told nothing yet."""
        new = [ticket for ticket in self.tickets.values() if ticket.promised_at is None]
        starts = self.expected() if new else {}
        for ticket in new:
            ticket.promised_at = starts.get(ticket.id)

    def asking(self) -> Asking:
        """The arguments of `queue`: those whom room or a quota keeps back, and all that decides about them."""
        waiting = [*self.waiting, *self.held_up]
        quotas = {holder: self.standing.quota(holder).gpus for one in waiting for holder in one.holders}
        ceilings = {holder: WHOLE * gpus for holder, gpus in quotas.items() if gpus is not None}
        return waiting, self.held, self.fleet.profiles, self.fleet.machines, self.now, ceilings

    def _quota_of(self, ticket: Ticket) -> dict[str, Any]:
        """What it counts for whom, and who keeps it back; training may go beyond its team's."""
        spec = self.fleet.profiles.get(ticket.profile)
        own = holders(ticket.owner, ticket.team)
        beyond = self.fleet.rules.borrowing and ticket.queue_class == TRAINING
        gpus = 0 if spec is None else gpus_of(spec, self.fleet)
        return {
            "gpus": gpus,
            "holders": own,
            "bound_by": own[:1] if beyond else own,
            "promised": ticket.promised_at,
        }

    def board(self) -> Board:
        """What is free."""
        return Board(self.fleet.machines, [piece for lease in self.held for piece in lease.slices])

    def add(self, ticket: Ticket, session: Session, apart: frozenset[str] | None = None) -> None:
        """Another who waits; `apart` as in `wish_of`."""
        verdict = self.judge(ticket)
        holder = claimant(ticket.owner, ticket.team)
        waits = Waiting(
            ticket.id,
            ticket.profile,
            ticket.priority,
            ticket.asked_at,
            ticket.lifetime_s,
            queue_class=ticket.queue_class,
            within_quota=verdict.code != "beyond_quota",
            team_share=self.standing.share(holder),
            owner_share=self.standing.share(("user", ticket.owner)),
            reclaims=ticket.reclaims,
            **self._quota_of(ticket),
            wish=self.wish(session, ticket, apart),
        )
        self._ahead = self._expected = self._places = None
        self.tickets[ticket.id] = ticket
        self.everyone.append(waits)
        if verdict.allowed:
            self.waiting.append(waits)
        else:
            self.stopped[ticket.id] = verdict
            if verdict.code == "quota_gpus":
                self.held_up.append(waits)
            if verdict.code in refused.CODES:
                self.paused.append(waits)

    def wish(self, session: Session, ticket: Ticket, apart: frozenset[str] | None = None) -> Wish:
        """As `wish_of`, where its owner's home can be used, and on no node that just took none of its profile."""
        found = wish_of(session, ticket, self.fleet, apart)
        nodes = self._home_of(ticket.owner) if ticket.purpose == "notebook" else None
        return replace(found, nodes=nodes, without=self.turned_away.without(ticket.profile))

    def _home_of(self, owner: str) -> frozenset[str] | None:
        """Where somebody's home can be used now, None for anywhere: beside their other servers, where it must."""
        nodes = self.fleet.homes.get(owner)
        if not self.fleet.rules.one_home_node:
            return nodes
        there = frozenset(piece.node for piece in self.notebooks.get(owner, ()) if piece.node)
        return (there if nodes is None else there & nodes) or nodes

    def need_home(self, ticket: Ticket, pool: str) -> None:
        """Refuse what never fits where its owner's home is. Raises `HomeElsewhere`."""
        nodes = self.fleet.homes.get(ticket.owner) if ticket.purpose == "notebook" else None
        if nodes is not None and not self.fleet.capacity.fits(self.fleet.profile(ticket.profile), pool, nodes):
            raise HomeElsewhere(profile=ticket.profile, nodes=named(nodes) or "-")

    def in_order(self) -> list[Waiting]:
        """Those that wait for room alone, as they are served: first in a class whose promise is in danger."""
        return [one for one in self.ahead().order if one.id not in self.stopped]

    def places(self) -> Mapping[str, int]:
        """The place of each among those who wait for the same profile, from 1.

        Who waits for a budget, or a profile that is away, is in nobody's way and has none.
        """
        if self._places is None:
            self._places = order.positions(self.in_line(), self.ahead().endangered)
        return self._places

    def in_line(self) -> list[Waiting]:
        """Who has a place in it."""
        return [*self.waiting, *self.held_up, *self.paused]

    def is_refused(self, ticket: Ticket) -> bool:
        """Whether the cluster has just refused this, or the like of it."""
        return self.turned_away.of(ticket.team, ticket.profile) is not None

    def next_best(self, profile: str, wish: Wish) -> str | None:
        """A profile that is free now instead of this one; None if none."""
        if self._free is None:
            self._free = self.board()
        return self._free.next_best(profile, self.fleet.named(profile), wish)

    def judge(self, ticket: Ticket) -> Verdict:
        """Whether quotas and budgets let it start now; room is another question."""
        if ticket.purpose == "notebook" and ticket.owner in self._settled:
            return Verdict.no("home_bound", profile=ticket.profile)  # until the next look, which knows where
        if (no := self.turned_away.of(ticket.team, ticket.profile)) is not None:
            return no
        spec = self.fleet.profiles.get(ticket.profile)
        if spec is None:  # its GPU is not there at the moment; it may come back
            return Verdict.no("profile_away", profile=ticket.profile)
        quota = self.standing.judge(ticket.owner, ticket.team, gpus_of(spec, self.fleet), ticket.queue_class)
        paid = self.paid(ticket)
        waits_for_gpus = quota.allowed or quota.code == "quota_gpus"
        return paid if waits_for_gpus and not paid.allowed else quota

    def paid(self, ticket: Ticket) -> Verdict:
        """Whether what it asks for fits the budgets of its team and project; a refusal names what would."""
        spec = self.fleet.profiles[ticket.profile]
        others = [(one.name, one.rate) for one in self.fleet.open_to_all.values() if one.gpu_model is not None]
        return self.purse.check(ticket.team, ticket.project, spec.rate, ticket.lifetime_s, others)

    def take(self, ticket: Ticket) -> None:
        """Count a grant of this transaction against quotas and budgets."""
        spec = self.fleet.profiles[ticket.profile]
        if self.fleet.rules.one_home_node and ticket.purpose == "notebook":
            self._settled.add(ticket.owner)
        self.standing.take(ticket.owner, ticket.team, gpus_of(spec, self.fleet))
        self.purse.take(ticket.team, ticket.project, spec.rate, ticket.lifetime_s)


def read(session: Session, fleet: Fleet, now: datetime) -> Line:
    """The line at this moment. What is closed is read with it: the look at the place may be older."""
    fleet = fleet.closing(closures.closed(session))
    found = Line(fleet, standing(session, now, borrowing=fleet.rules.borrowing), purse(session, now), now)
    leases = [lease for lease in active(session) if lease.parent is None and lease.slices]
    found.held = [
        Held(slices_of(lease), lease.until, lease.gpus, holders(lease.owner, lease.team), lease.id)
        for lease in leases
    ]
    for lease in leases:
        if lease.purpose == "notebook":
            found.notebooks.setdefault(lease.owner, []).extend(slices_of(lease))
    tickets = session.scalars(select(Ticket).where(Ticket.state == "waiting")).all()
    told = [*tickets, *_put_back(session, now)]
    found.turned_away = refused.standing(((one.team, one.profile, one.verdict) for one in told), now)
    near = _siblings(session, [ticket.subject for ticket in tickets if ticket.purpose == "serving"])
    for ticket in tickets:
        found.add(ticket, session, near.get(ticket.subject, frozenset()))
    return found


def seen(session: Session, fleet: Fleet, now: datetime) -> Line:
    """The same, for whoever only looks: read and reckoned once for as long as nothing is written meanwhile.

    Not to be added to.
    """
    session.flush()
    fleet = fleet.closing(closures.closed(session))
    known = session.info.get(_SEEN)
    if known is None or known.fleet is not fleet or known.now != now:
        known = session.info[_SEEN] = read(session, fleet, now)
    return known


@event.listens_for(Session, "after_flush")
def _outdated(session: Session, _context: UOWTransaction) -> None:
    session.info.pop(_SEEN, None)


def active(session: Session) -> Iterable[Lease]:
    """Every lease that has not ended."""
    return session.scalars(
        select(Lease).where(Lease.ended_at.is_(None)).order_by(Lease.granted_at, Lease.id)
    ).all()


def gpus_of(spec: ProfileSpec, fleet: Fleet) -> int:
    """What one holder counts of GPUs, in thousandths; of several grids with such a MIG profile, the most."""
    if spec.mig is None:
        return thousandths(spec)
    grids = {id(gpu.grid): gpu.grid for node in fleet.machines for gpu in node.gpus if gpu.key == spec.gpu_key}
    found = [thousandths(spec, grid) for grid in grids.values() if grid is not None and grid.named(spec.mig)]
    return max(found, default=thousandths(spec))


def wish_of(session: Session, ticket: Ticket, fleet: Fleet, apart: frozenset[str] | None = None) -> Wish:
    """Where a ticket wants to be. Who has no team shares a GPU with nobody but themselves.

    `apart` is where its siblings are, for whoever knows it already; else the store is asked.
    """
    if apart is None:
        near = _siblings(session, [ticket.subject]) if ticket.purpose == "serving" else {}
        apart = near.get(ticket.subject, frozenset())
    return Wish(
        team=ticket.team or ticket.owner,
        pool=POOLS.get(ticket.purpose) or POOL_OF_CLASS[ticket.queue_class],
        apart=apart,
        share_across_teams=fleet.rules.share_across_teams,
    )


def _put_back(session: Session, now: datetime) -> Sequence[Ticket]:
    """What was granted lately and found no node: others are not to try that one, wherever it itself went since."""
    query = (
        select(Ticket)
        .join(Lease, Lease.id == Ticket.lease_id)
        .where(Lease.end_reason == NOT_ADMITTED, Lease.granted_at >= now - _LATELY)
    )
    return [one for one in session.scalars(query) if one.verdict.get("code") == refused.NODE]


def _siblings(session: Session, replicas: Sequence[str]) -> dict[str, frozenset[str]]:
    """For each of these model servers the devices and nodes of the others of its endpoint, where there are any."""
    if not replicas:
        return {}
    other = aliased(Replica)
    query = (
        select(Replica.id, Lease.slices)
        .join(other, and_(other.endpoint_id == Replica.endpoint_id, other.id != Replica.id))
        .join(Lease, Lease.id == other.lease_id)
        .where(Replica.id.in_(replicas), Lease.ended_at.is_(None))
    )
    found: dict[str, frozenset[str]] = {}
    for replica, slices in session.execute(query):
        pieces = [Slice.from_json(piece) for piece in slices]
        names = {name for piece in pieces for name in (piece.device, piece.node) if name not in ("", "cpu")}
        found[replica] = found.get(replica, frozenset()) | names
    return found

"""The queue as it stands in the store: tickets and leases as the policies see them, read in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations.budgets import Purse, purse
from dure_hub.operations.profiles import Fleet, slices_of
from dure_hub.operations.standing import Standing, claimant, standing
from dure_hub.policies import queue
from dure_hub.policies.board import Board
from dure_hub.policies.classes import POOL_OF_CLASS, POOLS
from dure_hub.policies.placement import Slice
from dure_hub.policies.queue import Held, Start, Waiting
from dure_hub.policies.quota import thousandths
from dure_hub.policies.slices import Placement, Wish
from dure_hub.policies.verdict import Verdict
from dure_hub.store.models import Lease, Replica, Ticket


@dataclass
class Line:
    """Who waits (`tickets` are their rows, by id), who holds what, and how everybody stands.

    `stopped` are tickets that wait for something else than room, by id: their quota, a budget, or a profile that
    is away. They are in nobody's way. `waiting` are the others, `everyone` is both.
    """

    fleet: Fleet
    standing: Standing
    purse: Purse
    now: datetime
    tickets: dict[str, Ticket] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    everyone: list[Waiting] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    stopped: dict[str, Verdict] = field(default_factory=dict)
    notebooks: dict[str, list[Slice]] = field(default_factory=dict)
    """What each person's own servers hold."""

    def startable(self) -> list[Start]:
        """Everybody who may start now, in order."""
        return queue.startable(self.waiting, self.held, self.fleet.profiles, self.fleet.machines, self.now)

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
        """The latest start of each who waits for room."""
        return queue.expected_starts(self.waiting, self.held, self.fleet.profiles, self.fleet.machines, self.now)

    def board(self) -> Board:
        """What is free."""
        return Board(self.fleet.machines, [piece for lease in self.held for piece in lease.slices])

    def add(self, ticket: Ticket, session: Session) -> None:
        """Another who waits."""
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
            wish=wish_of(session, ticket, self.fleet),
        )
        self.tickets[ticket.id] = ticket
        self.everyone.append(waits)
        if verdict.allowed:
            self.waiting.append(waits)
        else:
            self.stopped[ticket.id] = verdict

    def position(self, ticket_id: str) -> int | None:
        """Its place among those who wait for the same profile, from 1; None if it does not wait."""
        return queue.position(ticket_id, self.everyone)

    def judge(self, ticket: Ticket) -> Verdict:
        """Whether quotas and budgets let it start now; room is another question."""
        spec = self.fleet.profiles.get(ticket.profile)
        if spec is None:  # its GPU is not there at the moment; it may come back
            return Verdict.no("profile_away", profile=ticket.profile)
        quota = self.standing.judge(ticket.owner, ticket.team, gpus_of(spec, self.fleet), ticket.queue_class)
        paid = self.paid(ticket)
        return paid if quota.allowed and not paid.allowed else quota

    def paid(self, ticket: Ticket) -> Verdict:
        """Whether what it asks for fits the budgets of its team and project; a refusal names what would."""
        profiles = self.fleet.profiles
        spec = profiles[ticket.profile]
        others = [(one.name, one.rate) for one in profiles.values() if one.gpu_model is not None]
        return self.purse.check(ticket.team, ticket.project, spec.rate, ticket.lifetime_s, others)

    def take(self, ticket: Ticket) -> None:
        """Count a grant of this transaction against quotas and budgets."""
        spec = self.fleet.profiles[ticket.profile]
        self.standing.take(ticket.owner, ticket.team, gpus_of(spec, self.fleet))
        self.purse.take(ticket.team, ticket.project, spec.rate, ticket.lifetime_s)


def read(session: Session, fleet: Fleet, now: datetime) -> Line:
    """The line at this moment."""
    found = Line(fleet, standing(session, now, borrowing=fleet.rules.borrowing), purse(session, now), now)
    leases = [lease for lease in active(session) if lease.parent is None and lease.slices]
    found.held = [Held(slices_of(lease), lease.until) for lease in leases]
    for lease in leases:
        if lease.purpose == "notebook":
            found.notebooks.setdefault(lease.owner, []).extend(slices_of(lease))
    for ticket in session.scalars(select(Ticket).where(Ticket.state == "waiting")).all():
        found.add(ticket, session)
    return found


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


def wish_of(session: Session, ticket: Ticket, fleet: Fleet) -> Wish:
    """Where a ticket wants to be. Who has no team shares a GPU with nobody but themselves."""
    return Wish(
        team=ticket.team or ticket.owner,
        pool=POOLS.get(ticket.purpose) or POOL_OF_CLASS[ticket.queue_class],
        apart=_siblings(session, ticket.subject) if ticket.purpose == "serving" else frozenset(),
        share_across_teams=fleet.rules.share_across_teams,
    )


def _siblings(session: Session, replica_id: str) -> frozenset[str]:
    """Devices and nodes of the other model servers of an endpoint."""
    own = select(Replica.endpoint_id).where(Replica.id == replica_id).scalar_subquery()
    query = (
        select(Lease)
        .join(Replica, Replica.lease_id == Lease.id)
        .where(Replica.endpoint_id == own, Replica.id != replica_id, Lease.ended_at.is_(None))
    )
    pieces = [piece for lease in session.scalars(query) for piece in slices_of(lease)]
    return frozenset(name for piece in pieces for name in (piece.device, piece.node) if name not in ("", "cpu"))

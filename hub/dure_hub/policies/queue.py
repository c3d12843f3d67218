"""Who is next, at which position, and when at the latest. The clock is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.placement import Slice, place


@dataclass(frozen=True)
class Waiting:
    """A ticket as the queue sees it. `lifetime_s` is None where its lease would have no end."""

    id: str
    profile: str
    priority: int
    asked_at: datetime
    lifetime_s: int | None = None


@dataclass(frozen=True)
class Held:
    """An active lease as the queue sees it. `until` is None where it has no end."""

    slices: tuple[Slice, ...]
    until: datetime | None


def order(waiting: Sequence[Waiting]) -> list[Waiting]:
    """By priority, highest first; then who asked first; the id settles the rest."""
    return sorted(waiting, key=lambda ticket: (-ticket.priority, ticket.asked_at, ticket.id))


def position(ticket_id: str, waiting: Sequence[Waiting]) -> int | None:
    """Place among those who wait for the same profile, from 1. None if it does not wait."""
    own = next((ticket for ticket in waiting if ticket.id == ticket_id), None)
    if own is None:
        return None
    return 1 + [t.id for t in order([t for t in waiting if t.profile == own.profile])].index(ticket_id)


def overtaken(profile: str, priority: int, waiting: Sequence[Waiting]) -> bool:
    """Whether somebody asking now would pass a ticket that waits for the same profile."""
    return any(ticket.profile == profile and ticket.priority >= priority for ticket in waiting)


def expected_starts(
    waiting: Sequence[Waiting],
    leases: Sequence[Held],
    profiles: Mapping[str, ProfileSpec],
    machine: Machine,
    now: datetime,
) -> dict[str, datetime | None]:
    """When each ticket starts at the latest, if every lease runs to its end and nobody new goes before it.

    None where that cannot be known: nothing that ends frees enough for it.
    """
    # each end is a time, a number to settle ties, and what becomes free then
    ends = [(max(lease.until, now), number, lease) for number, lease in enumerate(leases) if lease.until]
    heapq.heapify(ends)
    held = list(leases)
    queue = order(waiting)
    starts: dict[str, datetime | None] = {ticket.id: None for ticket in queue}
    at, number = now, len(leases)
    while True:
        for ticket in list(queue):
            profile = profiles.get(ticket.profile)
            if profile is None:
                continue
            placed = place(profile, machine, [piece for lease in held for piece in lease.slices])
            if not placed.verdict.allowed:
                continue
            queue.remove(ticket)
            starts[ticket.id] = at
            until = None if ticket.lifetime_s is None else at + timedelta(seconds=ticket.lifetime_s)
            granted = Held(placed.slices, until)
            held.append(granted)
            if until is not None:
                number += 1
                heapq.heappush(ends, (until, number, granted))
        if not queue or not ends:
            return starts
        at, _, ended = heapq.heappop(ends)
        held.remove(ended)

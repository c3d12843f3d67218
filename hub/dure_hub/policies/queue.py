"""Who is next, at which position, who may start now, and when at the latest. The clock is an argument.

Order is strict: a ticket that finds no room holds back those behind it that want the same GPUs, or a request for
eight of them would never start. Somebody behind may still go first where that makes nobody wait longer (backfill).

A start promised "at the latest" is one that no early end of a lease can spoil. Placements differ when leases end
early, so it is not read off one simulated future: a ticket is promised the first time at which, with all those
before it started, even the worst places of those who may still run leave room for it (`Contention`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from dure_hub.policies.classes import INTERACTIVE
from dure_hub.policies.contention import Contention
from dure_hub.policies.slices import Placement, Slice, Wish

_ANYWHERE = Wish()


@dataclass(frozen=True)
class Waiting:
    """A ticket as the queue sees it. `lifetime_s` is None where its lease would have no end.

    `priority` (higher first) is an administrator's choice inside a class. `within_quota` says whether its team,
    with it, stays inside its quota; `team_share` and `owner_share` are the normalised decayed use of team and
    owner (`fairshare`). `reclaims` is set while leases were told to end for it: their room is its own.
    """

    id: str
    profile: str
    priority: int
    asked_at: datetime
    lifetime_s: int | None = None
    queue_class: int = INTERACTIVE
    within_quota: bool = True
    team_share: float = 0.0
    owner_share: float = 0.0
    reclaims: bool = False
    wish: Wish = _ANYWHERE

    def __lt__(self, other: Waiting) -> bool:
        """Whether it goes before another."""
        return _key(self) < _key(other)


@dataclass(frozen=True)
class Held:
    """An active lease as the queue sees it. `until` is None where it has no end."""

    slices: tuple[Slice, ...]
    until: datetime | None


@dataclass(frozen=True)
class Start:
    """A ticket that may start now, and where."""

    ticket: Waiting
    placement: Placement


def order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """By class, an administrator's priority, quota, least use of the team, of its owner; then by time, then id.

    Before all of them go those for whom leases were told to end.
    """
    return sorted(waiting, key=_key)


def position(ticket_id: str, waiting: Sequence[Waiting]) -> int | None:
    """Place among those who wait for the same profile, from 1. None if it does not wait."""
    own = next((ticket for ticket in waiting if ticket.id == ticket_id), None)
    if own is None:
        return None
    return 1 + sum(1 for ticket in waiting if ticket.profile == own.profile and ticket < own)


def overtaken(asked: Waiting, waiting: Iterable[Waiting]) -> bool:
    """Whether it would pass a ticket that goes before it and waits for the same profile, if it started now."""
    return any(ticket.profile == asked.profile and ticket < asked for ticket in waiting)


def startable(
    waiting: Sequence[Waiting],
    leases: Sequence[Held],
    profiles: Mapping[str, ProfileSpec],
    machines: Sequence[Machine],
    now: datetime,
) -> list[Start]:
    """Everybody who may start now, in order, each placed beside those before it.

    Whoever finds room may, unless that would delay somebody before it who does not.
    """
    fleet = _Fleet(machines, leases, profiles, now)
    found: list[Start] = []
    left: list[Waiting] = []
    held_back: dict[tuple[str, Wish], float] = {}
    for ticket in order(waiting):
        spec = profiles.get(ticket.profile)
        if spec is None:
            continue
        kind = (ticket.profile, ticket.wish)
        life = math.inf if ticket.lifetime_s is None else ticket.lifetime_s
        if kind in held_back and life >= held_back[kind]:
            left.append(ticket)
            continue
        placed = fleet.board.place(spec, ticket.wish)
        if not placed.verdict.allowed:
            left.append(ticket)
        elif fleet.add_unless_late(Held(placed.slices, _end(now, ticket.lifetime_s)), ticket, left):
            found.append(Start(ticket, placed))
        else:
            # who would hold it as long, or longer, delays the same people
            held_back[kind] = life
            left.append(ticket)
    return found


def expected_starts(
    waiting: Sequence[Waiting],
    leases: Sequence[Held],
    profiles: Mapping[str, ProfileSpec],
    machines: Sequence[Machine],
    now: datetime,
) -> dict[str, datetime | None]:
    """When each ticket starts at the latest, if no lease is held beyond its end and nobody new goes before it.

    None where that cannot be known. Where nothing that ends frees enough for it, it holds nobody back, and counts
    as new once something else does; where those before it may have no end, it is reckoned with at any time.
    """
    return _Fleet(machines, leases, profiles, now).starts(order(waiting))


class _Fleet:
    """What is held and when it ends, with two boards: one to place on, one to look ahead with."""

    def __init__(
        self,
        machines: Sequence[Machine],
        leases: Sequence[Held],
        profiles: Mapping[str, ProfileSpec],
        now: datetime,
    ) -> None:
        slices = [piece for lease in leases for piece in lease.slices]
        self.board, self._ahead = Board(machines, slices), Board(machines, slices)
        self._contention = Contention(machines)
        self._leases, self._profiles, self._now = list(leases), profiles, now

    def add_unless_late(self, lease: Held, ticket: Waiting, left: Sequence[Waiting]) -> bool:
        """Hold this too; not if somebody who is left would then start later than without it."""
        rivals = [one.id for one in left if self._hits(ticket, one)]
        before = self.starts(left) if rivals else {}
        for board in (self.board, self._ahead):
            board.take(lease.slices)
        self._leases.append(lease)
        after = self.starts(left) if rivals else {}
        if not any(_later(before[key], after[key]) for key in rivals):
            return True
        self._leases.pop()
        for board in (self.board, self._ahead):
            board.give_back(lease.slices)
        return False

    def starts(self, queue: Sequence[Waiting]) -> dict[str, datetime | None]:
        """The latest start of each, in this order."""
        lanes: dict[tuple[str, Wish], _Lane] = {}
        starts: dict[str, datetime | None] = {}
        for ticket in queue:
            starts[ticket.id] = None
            if ticket.profile in self._profiles:
                lanes.setdefault(_kind(ticket, self._profiles), _Lane(ticket))
        for lane, steps in zip(lanes.values(), self._steps(lanes.values()), strict=True):
            lane.steps = steps
        for ticket in queue:
            if ticket.profile not in self._profiles:
                continue
            own = lanes[_kind(ticket, self._profiles)]
            at = starts[ticket.id] = own.next()
            if at is None and not own.ever:
                continue
            for lane in lanes.values():
                hits = self._hits(ticket, lane.ticket)
                if hits:
                    # at an unknown time it may start at any, and then be there
                    lane.hold(hits, at, None if at is None else _end(at, ticket.lifetime_s))
        return starts

    def _hits(self, holder: Waiting, asked: Waiting) -> int:
        own, other = self._profiles.get(holder.profile), self._profiles.get(asked.profile)
        if own is None or other is None:
            return 0
        return self._contention.hits(own, other, holder.wish, asked.wish)

    def _steps(self, lanes: Iterable[_Lane]) -> list[list[tuple[datetime, int]]]:
        """For each lane how many of it fit from which time on, beside nothing but the leases there are now."""
        ends: dict[datetime, list[Slice]] = {self._now: []}
        for lease in self._leases:
            if lease.until is not None:
                ends.setdefault(max(lease.until, self._now), []).extend(lease.slices)
        asked = [(self._profiles[lane.ticket.profile], lane.ticket.wish) for lane in lanes]
        found: list[list[tuple[datetime, int]]] = [[] for _ in asked]
        for steps, (spec, wish) in zip(found, asked, strict=True):
            steps.append((self._now, self._ahead.count(spec, wish)))
        for at in sorted(ends):
            # only on the nodes of what ends is anything to be counted again
            devices = {(piece.node, piece.device): piece for piece in ends[at]}.values()
            changing = [
                (steps, spec, wish, self._ahead.count_by_slice(devices, spec, wish))
                for steps, (spec, wish) in zip(found, asked, strict=True)
                if any(self._contention.concerns(piece, spec) for piece in devices)
            ]
            self._ahead.give_back(ends[at])
            for steps, spec, wish, before in changing:
                more = self._ahead.count_by_slice(devices, spec, wish) - before
                if more:
                    steps.append((at, steps[-1][1] + more))
        for slices in ends.values():
            self._ahead.take(slices)
        return [_lasting(steps) for steps in found]


class _Lane:
    """Tickets that ask for the same: the time that has been given out to them, and who may run then.

    Time goes forward only: who comes later in the order starts no earlier than who is before it.
    """

    def __init__(self, ticket: Waiting) -> None:
        self.ticket = ticket
        self.steps: list[tuple[datetime, int]] = []
        self._passed = 0
        self._at: datetime | None = None
        self._hits = 0
        self._running: list[tuple[datetime, int]] = []

    @property
    def ever(self) -> bool:
        """Whether one fits at all once what has an end has ended."""
        return self.steps[-1][1] > 0

    def hold(self, hits: int, since: datetime | None, until: datetime | None) -> None:
        """Count a rival before the next ticket: it may run until `until`, and starts at `since` at the latest.

        The next ticket goes after it, unless nobody knows when that is.
        """
        self._hits += hits
        if since is not None:
            self._at = since if self._at is None else max(self._at, since)
        if until is not None:
            heapq.heappush(self._running, (until, hits))

    def next(self) -> datetime | None:
        """The first time at which more fit than may be hit; None if there is none."""
        at = self.steps[0][0] if self._at is None else self._at
        while True:
            while self._passed + 1 < len(self.steps) and self.steps[self._passed + 1][0] <= at:
                self._passed += 1
            while self._running and self._running[0][0] <= at:
                self._hits -= heapq.heappop(self._running)[1]
            if self.steps[self._passed][1] > self._hits:
                self._at = at
                return at
            ahead = [self.steps[self._passed + 1][0]] if self._passed + 1 < len(self.steps) else []
            ahead += [self._running[0][0]] if self._running else []
            if not ahead:
                return None
            at = min(ahead)


def _key(ticket: Waiting) -> tuple[object, ...]:
    return (
        not ticket.reclaims,
        ticket.queue_class,
        -ticket.priority,
        not ticket.within_quota,
        ticket.team_share,
        ticket.owner_share,
        ticket.asked_at,
        ticket.id,
    )


def _kind(ticket: Waiting, profiles: Mapping[str, ProfileSpec]) -> tuple[str, Wish]:
    """What tickets have in common that fit in the same places."""
    team = ticket.wish.team if profiles[ticket.profile].share else None
    return ticket.profile, replace(ticket.wish, apart=frozenset(), team=team)


def _end(start: datetime, lifetime_s: int | None) -> datetime | None:
    return None if lifetime_s is None else start + timedelta(seconds=lifetime_s)


def _lasting(steps: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """The same, each with no more than there is from then on: a GPU given back may leave less for `cpu`."""
    found: list[tuple[datetime, int]] = []
    for at, count in reversed(steps):
        if found and found[-1][1] <= count:
            found[-1] = (at, found[-1][1])
        else:
            found.append((at, count))
    return found[::-1]


def _later(before: datetime | None, after: datetime | None) -> bool:
    """Whether a known start was put off. One that nobody knows cannot be."""
    return before is not None and (after is None or after > before)

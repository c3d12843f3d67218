"""Who is next, at which position, who may start now, and when at the latest. The clock is an argument.

Order is strict: a ticket that finds no room holds back those behind it that want the same GPUs, or a request for
eight of them would never start. Somebody behind may still go first where that makes nobody wait longer (backfill).

A start promised "at the latest" is one that no early end of a lease can spoil. Placements differ when leases end
early, so it is not read off one simulated future: a ticket is promised the first time at which, with all those
before it started, even the worst places of those who may still run leave room for it (`Contention`), and the
quotas of its team and owner do too (`Ceilings`). What a person was told is kept against who comes later: a ticket
that would start later than promised goes first in its class.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from dure_hub.policies.ceilings import Ceilings, Holder
from dure_hub.policies.contention import Contention
from dure_hub.policies.lanes import Lane, lasting
from dure_hub.policies.order import Waiting, order
from dure_hub.policies.promises import in_danger, spends_reserve
from dure_hub.policies.slices import Placement, Slice, Wish

_MOMENT = timedelta(microseconds=1)
_NO_CEILINGS: Mapping[Holder, int] = {}
_Kind = tuple[str, str, bool, str | None, frozenset[str] | None, frozenset[str]]
_ROUNDS = 3
"""How often the line is put in order anew for the sake of promises; each round costs a look ahead."""


@dataclass(frozen=True)
class Held:
    """An active lease as the queue sees it. `until` is None where it has no end; `gpus` and `holders` as above.

    `lease` is its id, for whoever asks about this one.
    """

    slices: tuple[Slice, ...]
    until: datetime | None
    gpus: int = 0
    holders: tuple[Holder, ...] = ()
    lease: str = ""


@dataclass(frozen=True)
class Start:
    """A ticket that may start now, and where."""

    ticket: Waiting
    placement: Placement


@dataclass(frozen=True)
class Ahead:
    """The line as far as it can be told: who goes before whom, and when each starts at the latest."""

    order: Sequence[Waiting]
    starts: Mapping[str, datetime | None]
    endangered: Collection[str] = ()


def look_ahead(
    waiting: Sequence[Waiting],
    leases: Sequence[Held],
    profiles: Mapping[str, ProfileSpec],
    machines: Sequence[Machine],
    now: datetime,
    ceilings: Mapping[Holder, int] = _NO_CEILINGS,
) -> Ahead:
    """The order, in which whoever would start later than promised goes first in its class; and `expected_starts`.

    `ceilings` are the quotas that may keep somebody back: thousandths of GPUs at once, by holder.
    """
    return _Fleet(machines, leases, profiles, now, ceilings).kept(order(waiting))


def startable(
    waiting: Sequence[Waiting],
    leases: Sequence[Held],
    profiles: Mapping[str, ProfileSpec],
    machines: Sequence[Machine],
    now: datetime,
    ceilings: Mapping[Holder, int] = _NO_CEILINGS,
    ahead: Ahead | None = None,
) -> list[Start]:
    """Everybody who may start now, in order, each placed beside those before it.

    Whoever finds room may, unless that would delay somebody before it who does not. `ahead` is what `look_ahead`
    says of the same, for whoever knows it already.
    """
    fleet = _Fleet(machines, leases, profiles, now, ceilings)
    found: list[Start] = []
    left: list[Waiting] = []
    held_back: dict[tuple[object, ...], float] = {}
    for ticket in (ahead or fleet.kept(order(waiting))).order:
        spec = profiles.get(ticket.profile)
        if spec is None:
            continue
        kind = (_kind(ticket, profiles), ticket.wish.apart, fleet.limited(ticket))
        life = math.inf if ticket.lifetime_s is None else ticket.lifetime_s
        if (kind in held_back and life >= held_back[kind]) or not fleet.within(ticket):
            left.append(ticket)
            continue
        placed = fleet.board.place(spec, ticket.wish)
        if not placed.verdict.allowed:
            left.append(ticket)
        elif fleet.add_unless_late(_held(ticket, placed, now), ticket, left):
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
    ceilings: Mapping[Holder, int] = _NO_CEILINGS,
) -> Mapping[str, datetime | None]:
    """When each ticket starts at the latest, if no lease is held beyond its end and nobody new goes before it.

    None where that cannot be known. Where nothing that ends frees enough for it, it holds nobody back, and counts
    as new once something else does; where those before it may have no end, it is reckoned with at any time.
    """
    return look_ahead(waiting, leases, profiles, machines, now, ceilings).starts


class _Fleet:
    """What is held and when it ends, with two boards: one to place on, one to look ahead with."""

    def __init__(
        self,
        machines: Sequence[Machine],
        leases: Sequence[Held],
        profiles: Mapping[str, ProfileSpec],
        now: datetime,
        ceilings: Mapping[Holder, int],
    ) -> None:
        self._ceilings = ceilings
        slices = [piece for lease in leases for piece in lease.slices]
        self.board, self._ahead = Board(machines, slices), Board(machines, slices)
        self._contention = Contention(machines)
        self._for_everything = any(not machine.pool for machine in machines)
        self._leases, self._profiles, self._now = list(leases), profiles, now
        self._counted: dict[Holder, list[tuple[int, datetime | None]]] = {}
        self._used: Counter[Holder] = Counter()
        for lease in leases:
            self._count(lease)

    def add_unless_late(self, lease: Held, ticket: Waiting, left: Sequence[Waiting]) -> bool:
        """Hold this too; not if somebody who is left would then start later than without it.

        Those whom quotas keep back now cannot use the room yet: others may, as long as a part of the time that
        was promised is left.
        """
        rivals = [
            (one, within)
            for one in left
            if ((within := self.within(one)) or one.promised is not None)
            and (self._hits(ticket, one) or self._share_ceiling(ticket, one))
        ]
        before = self.starts(left) if rivals else {}
        self._add(lease)
        after = self.starts(left) if rivals else {}
        for one, within in rivals:
            at = after[one.id]
            if _later(before[one.id], at) and (
                within or (one.promised is not None and spends_reserve(one.promised, at, self._now))
            ):
                self._remove(lease)
                return False
        return True

    def _add(self, lease: Held) -> None:
        for board in (self.board, self._ahead):
            board.take(lease.slices)
        self._leases.append(lease)
        self._count(lease)

    def _remove(self, lease: Held) -> None:
        self._leases.pop()
        self._uncount(lease)
        for board in (self.board, self._ahead):
            board.give_back(lease.slices)

    def kept(self, queue: Sequence[Waiting]) -> Ahead:
        """This order, but whoever would start later than promised goes first in its class; with the starts."""
        promised = {one.id: one.promised for one in queue if one.promised is not None}
        late: set[str] = set()
        starts = self.starts(queue)
        for _ in range(_ROUNDS):
            more = {key for key, when in promised.items() if in_danger(when, starts[key], self._now)} - late
            if not more:
                break
            late |= more
            queue = order(queue, late)
            starts = self.starts(queue)
        return Ahead(queue, starts, late)

    def within(self, ticket: Waiting) -> bool:
        """Whether quotas let it start now, beside what is held."""
        bound = (holder for holder in ticket.bound_by if ticket.gpus and holder in self._ceilings)
        return all(self._used[holder] + ticket.gpus <= self._ceilings[holder] for holder in bound)

    def limited(self, ticket: Waiting) -> tuple[Holder, ...]:
        """Whose ceilings it counts for: who counts for others may delay others."""
        return tuple(holder for holder in ticket.holders if ticket.gpus and holder in self._ceilings)

    def _count(self, lease: Held) -> None:
        # what should be over by now still counts
        until = None if lease.until is None else max(lease.until, self._now + _MOMENT)
        for holder in lease.holders:
            if lease.gpus and holder in self._ceilings:
                self._counted.setdefault(holder, []).append((lease.gpus, until))
                self._used[holder] += lease.gpus

    def _uncount(self, lease: Held) -> None:
        for holder in lease.holders:
            if lease.gpus and holder in self._ceilings:
                self._counted[holder].pop()
                self._used[holder] -= lease.gpus

    def _share_ceiling(self, one: Waiting, other: Waiting) -> bool:
        return bool(other.gpus) and any(holder in other.bound_by for holder in self.limited(one))

    def starts(self, queue: Sequence[Waiting]) -> dict[str, datetime | None]:
        """The latest start of each, in this order."""
        lanes: dict[_Kind, Lane[Waiting]] = {}
        starts: dict[str, datetime | None] = {ticket.id: None for ticket in queue}
        known = [(ticket, _kind(ticket, self._profiles)) for ticket in queue if ticket.profile in self._profiles]
        for ticket, kind in known:
            if kind not in lanes:
                lanes[kind] = Lane(ticket)
        for lane, steps in zip(lanes.values(), self._steps(lanes.values()), strict=True):
            lane.steps = steps
        rivals: dict[_Kind, list[tuple[Lane[Waiting], int]]] = {}
        ceilings = Ceilings(self._ceilings, self._counted)
        for ticket, kind in known:
            own, counted = lanes[kind], (ticket.gpus, ticket.holders, ticket.bound_by)
            room = own.next()
            at = starts[ticket.id] = own.clear(ceilings.start(*counted, room), _life(ticket))
            until = None if at is None else _end(at, ticket.lifetime_s)
            ceilings.take(*counted, at, until)
            if room is None and not own.ever:
                continue
            if kind not in rivals:
                hit = ((lane, self._hits(ticket, lane.ticket)) for lane in lanes.values())
                rivals[kind] = [(lane, hits) for lane, hits in hit if hits]
            # at an unknown time it may start at any, and then be there
            for lane, hits in rivals[kind]:
                lane.hold(hits, room, until)
                if at != room and at is not None and lane is not own:
                    lane.reserve(at)
        return starts

    def _hits(self, holder: Waiting, asked: Waiting) -> int:
        own, other = self._profiles.get(holder.profile), self._profiles.get(asked.profile)
        if own is None or other is None or not self._meet(holder.wish, asked.wish):
            return 0
        return self._contention.hits(own, other, holder.wish, asked.wish)

    def _meet(self, one: Wish, other: Wish) -> bool:
        """Whether there may be a node for both."""
        if one.nodes is not None and other.nodes is not None and one.nodes.isdisjoint(other.nodes):
            return False
        return one.pool == other.pool or not one.pool or not other.pool or self._for_everything

    def _steps(self, lanes: Iterable[Lane[Waiting]]) -> list[list[tuple[datetime, int]]]:
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
        return [lasting(steps) for steps in found]


def _held(ticket: Waiting, placed: Placement, now: datetime) -> Held:
    return Held(placed.slices, _end(now, ticket.lifetime_s), ticket.gpus, ticket.holders)


def _kind(ticket: Waiting, profiles: Mapping[str, ProfileSpec]) -> _Kind:
    """What tickets have in common that fit in the same places; their team only where a GPU is shared by team."""
    wish = ticket.wish
    by_team = profiles[ticket.profile].share and not wish.share_across_teams
    team = wish.team if by_team else None
    return ticket.profile, wish.pool, wish.share_across_teams, team, wish.nodes, wish.without


def _life(ticket: Waiting) -> timedelta | None:
    return None if ticket.lifetime_s is None else timedelta(seconds=ticket.lifetime_s)


def _end(start: datetime, lifetime_s: int | None) -> datetime | None:
    return None if lifetime_s is None else start + timedelta(seconds=lifetime_s)


def _later(before: datetime | None, after: datetime | None) -> bool:
    """Whether a known start was put off. One that nobody knows cannot be."""
    return before is not None and (after is None or after > before)

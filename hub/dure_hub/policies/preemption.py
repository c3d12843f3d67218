"""Who gives way to whom: "inside quota you are safe, beyond it you may be reclaimed". The clock is an argument.

A ticket takes only from leases beyond their quota, and only if it stands before them by (inside quota or beyond,
class). A lease that was told to end and waits again stands no better than it did, and who took from it stands no
worse than when it asked: so nobody takes back from who took from them, by whatever detour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from dure_hub.policies.classes import NAMES
from dure_hub.policies.slices import Slice, Wish
from dure_hub.policies.verdict import Verdict

MIN_RUN_S = 1800
NOTICE_S = 120
LONGEST_S = 86400
Holder = tuple[str, str]
"""Whose quota it is: ("team", name), or ("user", name) of who has no team."""
Guaranteed = Mapping[Holder, int | None]
"""Thousandths of GPUs by holder. None, or not being there: everything is inside."""
_ANYWHERE = Wish()
_Price: TypeAlias = tuple[int, list[int]] | tuple[int, int, float, list[str]]


@dataclass(frozen=True)
class Running:
    """An active lease as these rules see it. `gpus` is in thousandths.

    `preemptible` says that its work can stop and go on later, or that its owner agreed to lose it. `ending` was
    told to end already: its room is on its way.
    """

    id: str
    slices: tuple[Slice, ...]
    queue_class: int
    purpose: str
    holder: Holder
    granted_at: datetime
    gpus: int
    preemptible: bool = True
    ending: bool = False


@dataclass(frozen=True)
class Asking:
    """A ticket as these rules see it. `gpus` is in thousandths."""

    id: str
    profile: ProfileSpec
    queue_class: int
    holder: Holder
    gpus: int
    wish: Wish = _ANYWHERE


@dataclass(frozen=True)
class Preemption:
    """The leases that must end for a ticket, none of them in vain; empty where the verdict does not allow it."""

    verdict: Verdict
    victims: tuple[Running, ...] = ()


def inside(leases: Iterable[Running], guaranteed: Guaranteed, asking: Asking | None = None) -> frozenset[str]:
    """The ids of the leases, and of the ticket if it were granted, that are inside their holder's quota.

    A quota is filled by class, then by age, the ticket as the youngest of its class; what does not fit into what
    is left of it is beyond, and leaves that to the next. What was told to end fills nothing.
    """
    # the ticket comes after every lease of its class, however young
    line: list[tuple[int, bool, datetime, Running | Asking]]
    line = [(one.queue_class, False, one.granted_at, one) for one in leases if not one.ending]
    if asking is not None:
        line.append((asking.queue_class, True, datetime.max.replace(tzinfo=UTC), asking))
    left = dict(guaranteed)
    found = set()
    for _, _, _, one in sorted(line, key=lambda row: (*row[:3], row[3].id)):
        room = left.get(one.holder)
        if room is None:
            found.add(one.id)
        elif one.gpus <= room:
            left[one.holder] = room - one.gpus
            found.add(one.id)
    return frozenset(found)


def reclaimable(
    lease: Running,
    asking: Asking,
    within: frozenset[str],
    now: datetime,
    min_run_s: int = MIN_RUN_S,
) -> Verdict:
    """Whether this ticket may take from this lease; `within` is `inside` with the ticket.

    Yes: `beyond_quota`. No: `ending`, `not_preemptible`, `inside_quota`, `no_better_claim` (beyond its quota too,
    and of no higher class), `serves` (of its own or a higher class), and `ran_too_little` until the time `at`.
    """
    facts = {"lease": lease.id, "queue_class": NAMES[lease.queue_class]}
    if lease.ending or not lease.preemptible:
        return Verdict.no("ending" if lease.ending else "not_preemptible", **facts)
    if lease.id in within:
        return Verdict.no("inside_quota", **facts)
    if asking.id not in within and asking.queue_class >= lease.queue_class:
        return Verdict.no("no_better_claim", **facts)
    if lease.purpose == "serving" and lease.queue_class <= asking.queue_class:
        return Verdict.no("serves", **facts)
    if now < lease.granted_at + timedelta(seconds=min_run_s):
        return Verdict.no(
            "ran_too_little", **facts, at=_may_end(lease, min_run_s).isoformat(), min_run_s=min_run_s
        )
    return Verdict.yes("beyond_quota", **facts)


def preempt(
    asking: Asking,
    leases: Sequence[Running],
    guaranteed: Guaranteed,
    board: Board,
    now: datetime,
    *,
    min_run_s: int = MIN_RUN_S,
    notice_s: int = NOTICE_S,
) -> Preemption:
    """Whose leases must end so that this ticket fits: as few as may be, of the lowest class, with the least work
    to lose; so the newest of those that are alike.

    `board` is as it is with all `leases` held, and is left so. Verdicts: `reclaims`, with `notice_s` to write a
    checkpoint in; no: `fits`, `room_is_coming` (what was told to end will do), `too_new_to_reclaim` until the time
    `at`, `nothing_to_reclaim`.
    """
    facts = {"ticket": asking.id, "profile": asking.profile.name}
    if board.place(asking.profile, asking.wish).verdict.allowed:
        return Preemption(Verdict.no("fits", **facts))
    ending = [piece for lease in leases if lease.ending for piece in lease.slices]
    within = inside(leases, guaranteed, asking)
    judged = [(lease, reclaimable(lease, asking, within, now, min_run_s)) for lease in leases]
    ready = [lease for lease, verdict in judged if verdict.allowed]
    later = [lease for lease, verdict in judged if verdict.code == "ran_too_little"]
    search = _Search(asking.profile, asking.wish, board)

    def fewest(candidates: Sequence[Running]) -> list[Running] | None:
        ranked = sorted(candidates, key=lambda one: (-one.queue_class, now - one.granted_at, one.id))
        return search.fewest(ranked, lambda victims: _loss(victims, now))

    board.give_back(ending)
    try:
        if search.fits():
            return Preemption(Verdict.no("room_is_coming", **facts))
        victims = fewest(ready)
        if victims is not None:
            names = [lease.id for lease in victims]
            return Preemption(Verdict.yes("reclaims", **facts, victims=names, notice_s=notice_s), tuple(victims))
        victims = fewest([*ready, *later]) if later else None
    finally:
        board.take(ending)
    if victims is None:
        return Preemption(Verdict.no("nothing_to_reclaim", **facts))
    at = max(_may_end(lease, min_run_s) for lease in victims)
    return Preemption(Verdict.no("too_new_to_reclaim", **facts, at=at.isoformat(), min_run_s=min_run_s))


def due_for_checkpoint(granted_at: datetime, now: datetime, longest_s: int = LONGEST_S) -> Verdict:
    """Whether training has run so long at a stretch that others may have their turn. Inclusive."""
    ran_s = max(int((now - granted_at).total_seconds()), 0)
    facts = {"ran_s": ran_s, "longest_s": longest_s}
    if ran_s < longest_s:
        return Verdict.no("within_longest", **facts)
    return Verdict.yes("ran_longest", **facts)


def fewest(profile: ProfileSpec, wish: Wish, leases: Sequence[Running], board: Board) -> list[Running] | None:
    """As few as may be of these leases whose end makes room for this; of equals those that come first.

    None if all of them are not enough. `board` is as it is with all of them held, and is left so.
    """
    everything = [piece for lease in leases for piece in lease.slices]
    board.give_back(everything)
    enough = board.place(profile, wish).verdict.allowed
    board.take(everything)
    if not enough:  # asked once for all, before any search
        return None
    place = {lease.id: number for number, lease in enumerate(leases)}
    search = _Search(profile, wish, board)
    return search.fewest(leases, lambda victims: (len(victims), [place[one.id] for one in victims]))


class _Search:
    """Looks for the leases whose end makes room for one ticket. Leaves the board as it found it."""

    def __init__(self, profile: ProfileSpec, wish: Wish, board: Board) -> None:
        self._profile, self._wish, self._board = profile, wish, board

    def fits(self) -> bool:
        """Whether it fits beside what is held now."""
        return self._board.place(self._profile, self._wish).verdict.allowed

    def fewest(
        self, ranked: Sequence[Running], price: Callable[[Sequence[Running]], _Price]
    ) -> list[Running] | None:
        """The cheapest victims among these, best ones first; None if all of them are not enough."""
        # a job on several GPUs lies on one node: the fewest are found there, one by one or together
        groups = [[lease] for lease in ranked] + _by_node(ranked)
        found = [victims for victims in map(self._enough, groups) if victims is not None]
        return min(found, key=price) if found else self._enough(ranked)

    def _enough(self, leases: Sequence[Running]) -> list[Running] | None:
        """Of these, in this order, the first that are enough, without those that were not needed after all."""
        chosen: list[Running] = []
        for lease in leases:
            self._board.give_back(lease.slices)
            chosen.append(lease)
            if self.fits():
                break
        else:
            self._take(chosen)
            return None
        for lease in reversed(chosen[:-1]):
            self._board.take(lease.slices)
            if self.fits():
                chosen.remove(lease)
            else:
                self._board.give_back(lease.slices)
        self._take(chosen)
        return chosen

    def _take(self, leases: Iterable[Running]) -> None:
        for lease in leases:
            self._board.take(lease.slices)


def _loss(victims: Sequence[Running], now: datetime) -> tuple[int, int, float, list[str]]:
    lost = sum(lease.gpus * (now - lease.granted_at).total_seconds() for lease in victims)
    return len(victims), -sum(lease.queue_class for lease in victims), lost, [lease.id for lease in victims]


def _by_node(leases: Sequence[Running]) -> list[list[Running]]:
    nodes: dict[str, list[Running]] = {}
    for lease in leases:
        for node in {piece.node for piece in lease.slices}:
            nodes.setdefault(node, []).append(lease)
    return list(nodes.values())


def _may_end(lease: Running, min_run_s: int) -> datetime:
    return lease.granted_at + timedelta(seconds=min_run_s)

"""Who waits, and who of them goes before whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from dure_hub.policies.ceilings import Holder
from dure_hub.policies.classes import INTERACTIVE
from dure_hub.policies.slices import Wish

_ANYWHERE = Wish()
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Waiting:
    """A ticket as the queue sees it. `lifetime_s` is None where its lease would have no end.

    `priority` (higher first) is an administrator's choice inside a class. `within_quota` says whether its team,
    with it, stays inside its quota; `team_share` and `owner_share` are the normalised decayed use of team and
    owner (`fairshare`). `reclaims` is set while leases were told to end for it: their room is its own.
    `gpus` (thousandths) count for each of `holders`; the quotas of those in `bound_by` keep it back. `promised` is
    the start at the latest that was told of it.
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
    gpus: int = 0
    holders: tuple[Holder, ...] = ()
    bound_by: tuple[Holder, ...] = ()
    promised: datetime | None = None

    def __lt__(self, other: Waiting) -> bool:
        """Whether it goes before another."""
        return _key(self) < _key(other)


def order(waiting: Iterable[Waiting], endangered: Collection[str] = ()) -> list[Waiting]:
    """By class, an administrator's priority, quota, least use of the team, of its owner; then by time, then id.

    Before all of them go those for whom leases were told to end; first in their class those whose promised start
    is in danger (`endangered`: their ids, see `Ahead`), in the order of what they were promised.
    """
    return sorted(waiting, key=lambda one: _key(one)[:2] + _by_promise(one, endangered) + _key(one)[2:])


def positions(waiting: Iterable[Waiting], endangered: Collection[str] = ()) -> dict[str, int]:
    """The place of each among those who wait for the same profile, from 1."""
    before: dict[str, int] = {}
    found: dict[str, int] = {}
    for ticket in order(waiting, endangered):
        found[ticket.id] = before[ticket.profile] = before.get(ticket.profile, 0) + 1
    return found


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


def _by_promise(ticket: Waiting, late: Collection[str]) -> tuple[object, ...]:
    is_late = ticket.id in late and ticket.promised is not None
    return (not is_late, ticket.promised if is_late else _EVER)

"""What somebody who is about to start a server is offered: every profile with what it would come to, and what they
had the last time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import LANGUAGES, DureError
from dure.wire.money import in_team
from dure_hub.operations import admission, lifetimes, line, ticket_rows
from dure_hub.operations import environment_asks as asks
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.line import Line
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.operations.standing import holders
from dure_hub.operations.ticket_rows import Start
from dure_hub.policies.board import Board
from dure_hub.policies.quota import Use
from dure_hub.policies.slices import WHOLE
from dure_hub.store import Clock, Store
from dure_hub.store.models import Budget, Lease, Ticket

_HOUR_US = 3_600_000_000
_PROJECTS = 20


@dataclass(frozen=True)
class Last:
    """What the last server of a name had; of no server of that name only the profile of whatever came last."""

    profile: str | None = None
    image: str | None = None
    team: str | None = None
    project: str | None = None
    lifetime_s: int | None = None


class Offers:
    """Reads all of that; writes nothing."""

    def __init__(self, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._store, self._clock, self._profiles = store, clock, profiles

    async def list(
        self,
        person: Person,
        *,
        team: str | None = None,
        project: str | None = None,
        lifetime_s: int | None = None,
        hours: float = 8,
    ) -> Sequence[wire.Offer]:
        """Every profile as it would be for a server of the person's now, and their GPU-hours after `hours` of it.

        What nodes for servers never have room for is left out, but for `cpu`. `team` pays, else the only one; who
        is in several and names none is shown their own limits alone. Raises `NotYourTeam`.
        """
        several = team is None and person.team is None and len(person.teams) > 1
        pays = None if several else charged(person, team)
        fleet, found = (
            await self._profiles.fleet(person.name),
            await self._profiles.list(person, admission.NOTEBOOK),
        )
        shown = [one for one in found if (one.total or one.name == "cpu") and one.name in fleet.profiles]

        def read(session: Session) -> Sequence[wire.Offer]:
            now = self._clock()
            queued = line.read(session, fleet, now)
            board, whose = queued.board(), (person.name, pays, project)
            return [_offer(session, one, queued, board, whose, lifetime_s, hours) for one in shown]

        return await self._store.read(read)

    async def last(self, person: Person, name: str) -> Last:
        """What is marked at first for a server of this name."""

        def read(session: Session) -> Last:
            row = rows.find(session, person.name, name)
            before = asks.last(session, row)
            if row is not None:
                kept = Last(row.profile, row.image, project=row.project)
                return kept if before is None else replace(kept, team=before.team, lifetime_s=before.lifetime_s)
            query = select(Lease.profile).where(Lease.owner == person.name, Lease.purpose == admission.NOTEBOOK)
            return Last(session.scalar(query.order_by(Lease.granted_at.desc()).limit(1)))

        return await self._store.read(read)

    async def projects(self, person: Person) -> Sequence[str]:
        """The person's own projects, the last first, and those of their teams that have a budget."""

        def read(session: Session) -> Sequence[str]:
            own = (
                select(Ticket.project)
                .where(Ticket.owner == person.name, Ticket.project.is_not(None))
                .group_by(Ticket.project)
                .order_by(func.max(Ticket.asked_at).desc())
                .limit(_PROJECTS)
            )
            budgets = session.scalars(select(Budget.name).where(Budget.kind == "project").order_by(Budget.name))
            return list(
                dict.fromkeys([*(one for one in session.scalars(own) if one), *_of_teams(budgets, person)])
            )

        return await self._store.read(read)


def _of_teams(names: Iterable[str], person: Person) -> Iterable[str]:
    for name in names:
        parts = in_team(name)
        if parts is not None and parts[0] in person.teams:
            yield parts[1]


def _offer(
    session: Session,
    profile: wire.Profile,
    queued: Line,
    board: Board,
    whose: tuple[str, str | None, str | None],
    lifetime_s: int | None,
    hours: float,
) -> wire.Offer:
    owner, team, project = whose
    fleet, now = queued.fleet, queued.now
    bounds = lifetimes.bounds_of(session, fleet.profile(profile.name), owner, team)
    seconds = min(lifetime_s or bounds.default_s, bounds.max_s)
    asked = ticket_rows.thought_of(profile.name, now, owner, team, project, seconds)
    told = {
        **profile.model_dump(),
        "hours_left": _hours_left(queued, owner, team, fleet, profile.name, hours),
        "default_lifetime_s": bounds.default_s,
        "max_lifetime_s": bounds.max_s,
        "lifetime_note": lifetimes.note_of(bounds),
    }
    try:
        fleet.need_here(fleet.profile(profile.name))
        start = _start(session, asked, queued, board)
    except DureError as error:
        return wire.Offer(**told, refusal={code: error.text(code) for code in LANGUAGES})
    return wire.Offer(
        **told,
        starts_now=start.now,
        position=start.position,
        expected_start=start.expected,
    )


def _start(session: Session, asked: Ticket, queued: Line, board: Board) -> Start:
    """As `start_of`, each thought of alone; where nobody waits, one board tells of all that find room."""
    if not queued.waiting and not queued.held_up and queued.judge(asked).allowed:
        wish = queued.wish(session, asked)
        if board.place(queued.fleet.profile(asked.profile), wish).verdict.allowed:
            admission.check(session, asked, queued)
            return Start(now=True)
    behind = replace(
        queued,
        tickets=dict(queued.tickets),
        waiting=[*queued.waiting],
        everyone=[*queued.everyone],
        held_up=[*queued.held_up],
        paused=[*queued.paused],
        stopped=dict(queued.stopped),
    )
    return ticket_rows.start_of(session, asked, behind)


def _hours_left(
    queued: Line, owner: str, team: str | None, fleet: Fleet, profile: str, hours: float
) -> list[wire.HoursLeft]:
    gpus = line.gpus_of(fleet.profile(profile), fleet) / WHOLE
    found = []
    for kind, name in holders(owner, team):
        limit = queued.standing.quota((kind, name)).gpu_hours_month
        if limit is None:
            continue
        used = queued.standing.use.get((kind, name), Use()).gpu_us / _HOUR_US
        left = limit - used - gpus * hours
        found.append(
            wire.HoursLeft(kind=kind, name=name, limit=limit, used=round(used, 3), left_after=round(left, 3))
        )
    return found

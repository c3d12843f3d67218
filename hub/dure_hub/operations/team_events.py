"""Which events a team's leads may read: those of what is charged to it, while it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, String, and_, cast, false, literal, or_, select
from sqlalchemy.orm import Session

from dure_hub.store.models import Endpoint, Environment, Event, Execution, Job, Lease, Schedule, Ticket

_LIMIT = 500
"""Names that may have been another team's before: the newest so many of each kind."""


def of_teams(session: Session, teams: Collection[str]) -> ColumnElement[bool]:
    """What is true of an event that leads of these teams may read."""
    wanted = sorted(teams)
    job = literal("job:") + Job.owner + "/" + Job.name
    execution = literal("execution:") + Schedule.owner + "/" + Schedule.name + "/" + cast(Execution.number, String)
    things = (
        select(literal("lease:") + Lease.id).where(Lease.team.in_(wanted)),
        select(literal("ticket:") + Ticket.id).where(Ticket.team.in_(wanted)),
        select(job).select_from(Job).join(Ticket, Ticket.id == Job.ticket_id).where(Ticket.team.in_(wanted)),
        select(execution)
        .select_from(Execution)
        .join(Schedule, Schedule.id == Execution.schedule_id)
        .where(Schedule.team.in_(wanted)),
    )
    named = [f"{kind}{team}" for team in wanted for kind in ("team:", "quota:team/", "budget:team/")]
    projects = [Event.object.startswith(f"budget:project/{team}/", autoescape=True) for team in wanted]
    spans = [
        and_(Event.object == thing, Event.at >= since, Event.at <= until if until else literal(True))
        for thing, since, until in _spans(session, wanted)
    ]
    found = [*(Event.object.in_(query) for query in things), Event.object.in_(named), *projects, *spans]
    return or_(false(), *found)


def _spans(session: Session, teams: list[str]) -> Iterator[tuple[str, datetime, datetime | None]]:
    """What has a name that another team's thing may have had: its name in events, since when, until when."""
    servers = (
        select(Environment.owner, Environment.name, Ticket.asked_at)
        .join(Ticket, Ticket.id == Environment.ticket_id)
        .where(Ticket.team.in_(teams))
        .order_by(Ticket.asked_at.desc())
        .limit(_LIMIT)
    )
    for owner, name, since in session.execute(servers):
        yield f"environment:{owner}/{name}", since, None
    endpoints = select(Endpoint).where(Endpoint.team.in_(teams)).order_by(Endpoint.created_at.desc()).limit(_LIMIT)
    for one in session.scalars(endpoints):
        yield f"endpoint:{one.name}", one.created_at, one.ended_at
    schedules = select(Schedule).where(Schedule.team.in_(teams)).order_by(Schedule.created_at.desc()).limit(_LIMIT)
    for row in session.scalars(schedules):
        yield f"schedule:{row.owner}/{row.name}", row.created_at, row.deleted_at

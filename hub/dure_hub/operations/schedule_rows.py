"""Schedules and executions: found by name, and as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import NotFound
from dure_hub.operations.notes import both, note, sentence
from dure_hub.operations.people import Person
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Execution, Lease, Schedule

PAGE = "/services/dure/schedules"
OVER = ("succeeded", "failed", "stopped", "skipped")


def find(session: Session, owner: str, name: str) -> Schedule:
    """A schedule by owner and name, if it was not deleted; raises `NotFound`."""
    named = (Schedule.owner == owner, Schedule.name == name, Schedule.deleted_at.is_(None))
    schedule = session.scalar(select(Schedule).where(*named))
    if schedule is None:
        raise NotFound(kind="schedule", name=name)
    return schedule


def seen_by(session: Session, person: Person, owner: str | None, name: str) -> Schedule:
    """One that this person may know of and end. Whether others' are there is told to nobody else."""
    whose = owner or person.name
    named = (Schedule.owner == whose, Schedule.name == name, Schedule.deleted_at.is_(None))
    person.need_sight(whose, session.scalar(select(Schedule.team).where(*named)))
    return find(session, whose, name)


def told_to(session: Session, schedule: Schedule, person: Person) -> wire.Schedule:
    """As this reader sees it: what its notebook was given and said is for the owner, and for administrators."""
    shown = on_wire(session, schedule, person.name)
    if person.admin or schedule.owner == person.name:
        return shown
    last = shown.last and shown.last.model_copy(update={"parameters": {}, "failure": None, "page": None})
    return shown.model_copy(update={"parameters": {}, "last": last})


def find_execution(session: Session, schedule: Schedule, number: int) -> Execution:
    """One execution of it; raises `NotFound`."""
    numbered = (Execution.schedule_id == schedule.id, Execution.number == number)
    execution = session.scalar(select(Execution).where(*numbered))
    if execution is None:
        raise NotFound(kind="execution", name=f"{schedule.name}/{number}")
    return execution


def next_number(session: Session, schedule: Schedule) -> int:
    """The number of the execution that comes next."""
    last = select(func.max(Execution.number)).where(Execution.schedule_id == schedule.id)
    return (session.scalar(last) or 0) + 1


def open_executions(session: Session, schedule: Schedule) -> Sequence[Execution]:
    """Those that wait or run."""
    going = (Execution.schedule_id == schedule.id, Execution.ended_at.is_(None))
    return session.scalars(select(Execution).where(*going).order_by(Execution.number)).all()


def newest(session: Session, schedule: Schedule, limit: int) -> list[Execution]:
    """Its newest executions, newest first, and each older one that has not ended."""
    query = select(Execution).where(Execution.schedule_id == schedule.id).order_by(Execution.number.desc())
    rows = [*session.scalars(query.limit(limit)).all()]
    last = rows[-1].number if rows else 0
    return rows + [row for row in reversed(open_executions(session, schedule)) if row.number < last]


def skipped_for(session: Session, schedule: Schedule, blocking: Execution) -> Execution | None:
    """The row that says what was left out since `blocking` runs; None if nothing was yet."""
    skipped = (Execution.schedule_id == schedule.id, Execution.state == "skipped")
    latest = select(Execution).where(*skipped, Execution.number > blocking.number)
    row = session.scalar(latest.order_by(Execution.number.desc()).limit(1))
    return row if row is not None and overlapped(row.reason)[0] == blocking.number else None


def overlap(number: int, times: int, due: datetime) -> str:
    """The reason of what was left out while execution `number` ran: so many times, at last at `due`."""
    return (
        note("overlap", number) if times == 1 else note("overlaps", f"{number}; {times}; {due:%Y-%m-%d %H:%M} UTC")
    )


def overlapped(reason: str | None) -> tuple[int, int]:
    """Number and times of such a reason; zeros for any other."""
    code, _, detail = (reason or "").partition(" ")
    if code == "overlap":
        return int(detail), 1
    if code != "overlaps":
        return 0, 0
    number, times, _ = detail.split("; ")
    return int(number), int(times)


def attach(execution: Execution, lease: Lease, now: datetime) -> None:
    """Give an execution its lease; it starts from the next look on."""
    execution.lease_id, lease.claimed_at = lease.id, now
    execution.state, execution.reason = "starting", note("preparing")


def close(
    session: Session,
    execution: Execution,
    state: str,
    reason: str | None,
    now: datetime,
    **facts: str | int | None,
) -> None:
    """It has ended: its row and its event, whoever and whatever ended it."""
    execution.state, execution.reason, execution.ended_at = state, reason, now
    thing = execution_object(session.get_one(Schedule, execution.schedule_id), execution)
    record(session, now, PORTAL, "execution.end", thing, {"state": state, **facts}, execution.owner)


def pause(session: Session, schedule: Schedule, now: datetime, code: str) -> None:
    """It is due no more, because of `code`; nobody asked for it."""
    schedule.next_at = None
    record(session, now, PORTAL, "schedule.pause", schedule_object(schedule), {"code": code}, schedule.owner)


def schedule_object(schedule: Schedule) -> str:
    """Its name in events."""
    return f"schedule:{schedule.owner}/{schedule.name}"


def execution_object(schedule: Schedule, execution: Execution) -> str:
    """Its name in events."""
    return f"execution:{schedule.owner}/{schedule.name}/{execution.number}"


def on_wire(session: Session, schedule: Schedule, viewer: str) -> wire.Schedule:
    """The schedule as `viewer` sees it, with its newest execution that was not left out."""
    ran = (Execution.schedule_id == schedule.id, Execution.state != "skipped")
    last = session.scalar(select(Execution).where(*ran).order_by(Execution.number.desc()).limit(1))
    return wire.Schedule(
        id=schedule.id,
        name=schedule.name,
        owner=schedule.owner,
        notebook=schedule.notebook,
        cron=schedule.cron,
        timezone=schedule.timezone,
        parameters=schedule.parameters,
        profile=schedule.profile,
        limit_s=schedule.limit_s,
        paused=schedule.next_at is None,
        next_at=schedule.next_at,
        last=execution_on_wire(schedule, last, viewer) if last is not None else None,
        created_at=schedule.created_at,
    )


def execution_on_wire(schedule: Schedule, execution: Execution, viewer: str) -> wire.Execution:
    """The execution as `viewer` sees it; `reason_text` has the reason in every language."""
    told: dict[str, Any] = {
        "id": execution.id,
        "schedule": schedule.name,
        "number": execution.number,
        "owner": execution.owner,
        "state": execution.state,
        "reason": sentence(execution.reason),
        "reason_text": both(execution.reason),
        "parameters": execution.parameters,
        "due_at": execution.due_at,
        "created_at": execution.created_at,
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "failure": execution.failure or None,
        "page": _page(schedule, execution, viewer) if execution.started_at is not None else None,
    }
    return wire.Execution.model_validate(told)


def _page(schedule: Schedule, execution: Execution, viewer: str) -> str:
    of = "" if viewer == schedule.owner else f"?owner={quote(schedule.owner, safe='')}"
    return f"{PAGE}/{schedule.name}/{execution.number}{of}"

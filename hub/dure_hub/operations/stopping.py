"""Stopping a server: its owner's stop is at once; somebody else's gives its owner time, or a reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy.orm import Session

from dure.errors import DureError, Text
from dure_hub.operations import admission, reasons
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.granted import NOT_ADMITTED, want_no_more
from dure_hub.operations.people import Person
from dure_hub.policies.verdict import Verdict
from dure_hub.store.events import on_behalf, record
from dure_hub.store.models import Environment, Lease


class ReasonMissing(DureError):
    """Somebody else's server would end at once, and they would not know why."""

    code, status = "reason_missing", 422
    message: ClassVar[Text] = {
        "en": "To end {name} of {owner} at once, say why: {owner} reads it.",
        "ko": "{owner} 님의 {name}을(를) 바로 종료하려면 이유를 적어야 합니다. {owner} 님이 읽게 됩니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Give a `reason`, or leave `now` out: its owner is then warned first. Nothing was stopped.",
        "ko": "`reason`을 적거나 `now`를 빼세요. 그러면 먼저 주인에게 알립니다. 종료된 것은 없습니다.",
    }


class StopIsSet(DureError):
    """An administrator or a lead has set when it ends, and its owner cannot move that."""

    code, status = "stop_is_set", 409
    message: ClassVar[Text] = {
        "en": "The end cannot be moved: {why} It ends at {at}.",
        "ko": "종료 시각을 옮길 수 없습니다. {why_ko} 종료 시각: {at}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Save your work until then. An administrator can call the stop off by extending the server.",
        "ko": "그때까지 작업을 저장하세요. 관리자가 서버를 연장하면 종료가 취소됩니다.",
    }


def want(
    session: Session,
    row: Environment,
    person: Person,
    why: str | None,
    reason: str,
    at: datetime | None,
    now: datetime,
) -> Lease | None:
    """Stop it, or leave the line with it; the lease that is to be stopped now, if there is one.

    With `at`, what starts or runs ends then, unless it is to end before.
    """
    lease = rows.active_lease(session, row)
    back = lease is not None and lease.end_reason == NOT_ADMITTED  # it ends, and would wait again
    if at is not None and lease is not None and not back and row.phase in (rows.STARTING, rows.RUNNING):
        if lease.end_reason is None and row.stop_at is None:
            _set(session, row, lease, person, why, at, now)
        return None
    before, changed = row.phase, False
    for_owner = reasons.ended_by(person, row.owner, why)
    if row.phase == rows.WAITING and row.ticket_id:
        admission.cancel(session, row.ticket_id, "cancelled", now, person.name)
        changed = _is_over(row, for_owner, now)
    if row.phase == rows.HELD and row.lease_id:  # nothing of it was started, so its place is free at once
        admission.end_lease(session, row.lease_id, "cancelled", now, person.name)
        changed = _is_over(row, for_owner, now)
    lease = rows.active_lease(session, row)
    if lease is not None:
        want_no_more(lease)
        if admission.ask_end(session, lease, reason, now, person.name):
            row.reason, changed = for_owner, True
        row.phase = rows.STOPPING
    if changed:  # asked twice is one change
        facts = {"code": reason, **({"why": why} if why else {})}
        if lease is None:  # no end of a lease will tell of it
            facts["before"] = before
        behalf = on_behalf(person.name, row.owner)
        record(session, now, person.name, "environment.stop", rows.thing(row), facts, behalf)
    return lease


def check_reason(person: Person, owner: str, name: str, why: str | None, *, at_once: bool) -> None:
    """Refuse an administrator's stop at once that says nothing to its owner. Raises `ReasonMissing`."""
    if at_once and not why and person.name != owner:
        raise ReasonMissing(name=name, owner=owner)


def moved(row: Environment, lease: Lease, person: Person) -> None:
    """Its end is moved: an administrator calls a stop off by that; its owner cannot. Raises `StopIsSet`."""
    if row.stop_at is None:
        return
    if person.name == row.owner:
        why = reasons.to_be_stopped(row.stop_reason)
        at = (rows.stop_time(row, lease) or row.stop_at).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise StopIsSet(at=at, why=why["en"], why_ko=why["ko"])
    row.stop_at = row.stop_reason = None


def _set(
    session: Session, row: Environment, lease: Lease, person: Person, why: str | None, at: datetime, now: datetime
) -> None:
    row.stop_at = at if lease.until is None else min(at, lease.until)
    row.stop_reason = reasons.ended_by(person, row.owner, why)
    lease.until = row.stop_at
    facts = {"lease": lease.id, "at": row.stop_at.isoformat(), "why": why}
    verdict = Verdict.yes("stop_set", **facts).to_json()
    record(session, now, person.name, "environment.stop_set", rows.thing(row), verdict, row.owner)


def stop_at(person: Person, owner: str, notice_s: int, now: datetime, *, at_once: bool) -> datetime | None:
    """When a stop that is asked for now ends the server; None is at once."""
    return None if at_once or person.name == owner or not notice_s else now + timedelta(seconds=notice_s)


def _is_over(row: Environment, for_owner: str | None, now: datetime) -> bool:
    row.phase, row.reason = rows.STOPPED, for_owner or "cancelled"
    row.dismissed_at = None if for_owner else now  # who cancels it knows
    return True

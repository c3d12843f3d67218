"""What people are told of, from events: one small function a verb; None where nobody needs to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.wire.money import in_team
from dure_hub.operations import admission, closures, device_words, notes, reasons
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.granted import ticket_of
from dure_hub.operations.notice_rows import Draft
from dure_hub.operations.notice_words import moment
from dure_hub.policies.notices import WAITED
from dure_hub.store.events import PORTAL
from dure_hub.store.models import Endpoint, Environment, Event, Job, Replica, Ticket
from dure_hub.store.models import Execution as ExecutionRow
from dure_hub.store.models import Schedule as ScheduleRow

OF_GROUPS = ("budget.alert", "quota.near", "device.fault")
"""Whom these concern, the hub has to be asked."""
_OWN = ("asked", "cancelled")
_NOTHING: dict[str, str] = {"en": "", "ko": ""}


def draft_of(session: Session, event: Event) -> Draft | None:
    """What is to be told of this event, and to whom."""
    return _SOURCES[event.verb](session, event)


def _facts(event: Event) -> dict[str, Any]:
    """The facts of its verdict; where that has none, the verdict itself."""
    found = event.verdict.get("facts")
    return found if isinstance(found, dict) else event.verdict


def _owned(event: Event) -> tuple[str, str]:
    """Owner and name of `environment:ana/default`; an owner's name may have a slash, a thing's has none."""
    owner, _, name = event.object.partition(":")[2].rpartition("/")
    return owner, name


def _held(session: Session, event: Event) -> Draft:
    owner, name = _owned(event)
    facts = _facts(event)
    until = datetime.fromisoformat(facts["until"])
    told = {"name": name, "until": moment(until)}
    return Draft("turn", "turn_held", event.object, f"turn/{facts['lease']}", told, (owner,), useful_until=until)


def _passed(session: Session, event: Event) -> Draft:
    owner, name = _owned(event)
    return Draft("turn", "turn_passed", event.object, event.id, {"name": name}, (owner,))


def _ready(session: Session, event: Event) -> Draft | None:
    """Only of a server that had to wait, and that its owner did not start by hand in its turn."""
    owner, name = _owned(event)
    row = rows.find(session, owner, name)
    lease = rows.active_lease(session, row) if row is not None else None
    if row is None or lease is None or row.held_until is not None:
        return None
    ticket = ticket_of(session, lease)
    if ticket is None or lease.granted_at - ticket.asked_at < WAITED:
        return None
    return Draft("turn", "turn_started", event.object, f"started/{lease.id}", {"name": name}, (owner,))


def _failed(session: Session, event: Event) -> Draft:
    owner, name = _owned(event)
    facts = {"name": name, "reason": reasons.both(event.verdict.get("reason")) or _NOTHING}
    key = f"stopped/{event.verdict.get('lease') or event.id}"
    return Draft("stopped", "start_failed", event.object, key, facts, (owner,))


def _ended(session: Session, event: Event) -> Draft | None:
    """Not of what its owner did: asked for it, or shut it down from inside."""
    owner, name = _owned(event)
    facts, by_admin = event.verdict, str(event.verdict.get("reason")).startswith("stopped_by ")
    itself = facts.get("code") == "exited" and facts.get("phase") == rows.STOPPED
    if (facts.get("code") in _OWN or itself) and not by_admin:
        return None
    told = {"name": name, "reason": reasons.both(facts.get("reason")) or _NOTHING}
    return Draft("stopped", "stopped", event.object, f"stopped/{facts['lease']}", told, (owner,))


def _taken_away(session: Session, event: Event) -> Draft | None:
    """An administrator's stop of what only waited; of what runs, its end tells."""
    owner, name = _owned(event)
    if event.actor in (PORTAL, owner) or "before" not in event.verdict:
        return None
    why = reasons.both(reasons.stopped_by(event.actor, event.verdict.get("why")))
    return Draft("stopped", "stopped", event.object, event.id, {"name": name, "reason": why}, (owner,))


def _stop_set(session: Session, event: Event) -> Draft:
    owner, name = _owned(event)
    facts = _facts(event)
    until, why = datetime.fromisoformat(facts["at"]), facts.get("why")
    told = {"name": name, "who": event.actor, "until": moment(until), "why": _ended_sentence(why)}
    code = "stop_set" if why else "stop_set_unsaid"
    return Draft("ending", code, event.object, f"stop/{event.id}", told, (owner,), useful_until=until)


def _gave_up(session: Session, event: Event) -> Draft | None:
    """Of servers; what else waited too long has an end of its own to tell of."""
    ticket = session.get(Ticket, event.object.removeprefix("ticket:"))
    if ticket is None or ticket.purpose != admission.NOTEBOOK or event.verdict.get("code") == rows.TURN_PASSED:
        return None
    row = session.get(Environment, ticket.subject)
    name = row.name if row is not None else ticket.profile
    thing = rows.thing_of(ticket.owner, name)
    return Draft("turn", "waited_too_long", thing, event.id, {"name": name}, (ticket.owner,))


def _budget(session: Session, event: Event) -> Draft:
    facts = _facts(event)
    parts = in_team(facts["name"]) if facts["kind"] == "project" else (facts["name"], "")
    key = f"{event.object}/{facts['month']}/{facts['percent']}/{facts['amount']}"
    return Draft("limit", "budget_alert", event.object, key, facts, teams=() if parts is None else (parts[0],))


def _quota(session: Session, event: Event) -> Draft:
    facts = _facts(event)
    key = f"{event.object}/{facts['limit']}/{facts['period']}/{facts['percent']}/{facts['quota']}"
    whose = (facts["name"],)
    people, teams = (whose, ()) if facts["kind"] == "user" else ((), whose)
    return Draft("limit", "quota_near", event.object, key, facts, people, teams)


def _device(session: Session, event: Event) -> Draft:
    """Who holds a part of it, and administrators."""
    device = event.object.partition(":")[2]
    told = {"device": device, "reason": device_words.fault(str(event.verdict.get("code")), _facts(event))}
    people = tuple(sorted({lease.owner for lease in closures.holding(session, device)}))
    return Draft("device", "device_unhealthy", event.object, event.id, told, people, admins=True)


def _job(session: Session, event: Event) -> Draft | None:
    owner, name = _owned(event)
    if event.verb == "job.end" and event.verdict.get("state") != "failed":
        return None
    row = session.scalar(select(Job).where(Job.owner == owner, Job.name == name))
    facts = {"name": name, "reason": notes.both(row.reason if row is not None else None)}
    return Draft("job", "job_failed", event.object, event.id, facts, (owner,))


def _execution(session: Session, event: Event) -> Draft | None:
    if event.verdict.get("state") != "failed":
        return None
    whole, _, number = event.object.partition(":")[2].rpartition("/")
    owner, _, name = whole.rpartition("/")
    row = session.scalars(
        select(ExecutionRow)
        .join(ScheduleRow, ScheduleRow.id == ExecutionRow.schedule_id)
        .where(ScheduleRow.owner == owner, ScheduleRow.name == name, ExecutionRow.number == int(number))
        .order_by(ExecutionRow.id.desc())
    ).first()
    facts = {"name": name, "number": int(number), "reason": notes.both(row.reason if row is not None else None)}
    return Draft("schedule", "execution_failed", event.object, event.id, facts, (owner,))


def _paused(session: Session, event: Event) -> Draft | None:
    if event.actor != PORTAL:
        return None
    owner, name = _owned(event)
    facts = {"name": name, "reason": notes.both(str(event.verdict.get("code")))}
    return Draft("schedule", "schedule_paused", event.object, event.id, facts, (owner,))


def _endpoint(session: Session, event: Event) -> Draft | None:
    """Its owner is told of what others did to it, and of what happened by itself."""
    name = event.object.removeprefix("endpoint:")
    row = session.scalars(select(Endpoint).where(Endpoint.name == name).order_by(Endpoint.id.desc())).first()
    if row is None or event.actor == row.owner:
        return None
    facts: dict[str, Any] = {"name": name, "reason": notes.both(row.reason)}
    code = {"endpoint.end": "endpoint_ended", "endpoint.rollback": "rolled_back"}.get(event.verb)
    if event.verb == "endpoint.state":
        code = "endpoint_failed" if event.verdict.get("to") == "failed" else None
    if event.verb == "endpoint.rollback":
        facts = {"name": name, "who": event.actor, "version": event.verdict.get("version")}
    return None if code is None else Draft("endpoint", code, event.object, event.id, facts, (row.owner,))


def _replica(session: Session, event: Event) -> Draft | None:
    """Of a canary: a champion that fails shows in the endpoint's own state."""
    row = session.get(Replica, event.object.removeprefix("replica:"))
    endpoint = session.get(Endpoint, row.endpoint_id) if row is not None else None
    if row is None or endpoint is None or row.role != "canary":
        return None
    facts = {"name": endpoint.name, "version": row.version, "reason": notes.both(row.reason)}
    return Draft("endpoint", "canary_failed", f"endpoint:{endpoint.name}", event.id, facts, (endpoint.owner,))


def _ended_sentence(text: str | None) -> str:
    """Somebody's own words, with a stop at their end: another sentence follows."""
    text = (text or "").strip()
    return text if not text or text[-1] in ".!?…。" else f"{text}."


_SOURCES: Mapping[str, Callable[[Session, Event], Draft | None]] = {
    "environment.hold": _held,
    "environment.pass": _passed,
    "environment.ready": _ready,
    "environment.fail": _failed,
    "environment.end": _ended,
    "environment.stop": _taken_away,
    "environment.stop_set": _stop_set,
    "ticket.expired": _gave_up,
    "budget.alert": _budget,
    "quota.near": _quota,
    "device.fault": _device,
    "job.fail": _job,
    "job.end": _job,
    "execution.end": _execution,
    "schedule.pause": _paused,
    "endpoint.state": _endpoint,
    "endpoint.end": _endpoint,
    "endpoint.rollback": _endpoint,
    "replica.fail": _replica,
}

"""The organisation in the store: read as a tree, and changed as a list of differences says, in one transaction.

What lies outside the store (accounts, files of the data folder) is changed by an errand, recorded here: it counts
as done for whoever reads, and is carried out right after, as often as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dure import wire
from dure.wire.money import in_team
from dure_hub.operations.budgets import set_budget
from dure_hub.operations.quotas import set_quota
from dure_hub.policies.organisation import BUDGET, DEVICES, PROFILE, QUOTA, RATE, TEAM, USER, Change, Section
from dure_hub.store.events import record
from dure_hub.store.models import Budget, Errand, Quota, Team, TeamLead, TeamMember, TeamProject

ACCOUNT, FILE = "account", "file"
RATES_FILE, PROFILES_FILE = "rates.yaml", "profiles.yaml"
LIMITS = ("gpus", "gpu_hours_month", "api_calls_day", "upload_mb_month", "max_lifetime_s")


def teams(session: Session) -> dict[str, dict[str, list[str]]]:
    """Every team with its members, leads and projects, each in order."""
    found: dict[str, dict[str, list[str]]] = {
        name: {"members": [], "leads": [], "projects": []}
        for name in session.scalars(select(Team.name).where(Team.leaving.is_(False)).order_by(Team.name))
    }
    staying = select(TeamMember.team, TeamMember.name).where(TeamMember.leaving.is_(False))
    for field, query in (
        ("members", staying),
        ("leads", select(TeamLead.team, TeamLead.name)),
        ("projects", select(TeamProject.team, TeamProject.name)),
    ):
        for team, name in session.execute(query):
            if team in found:
                found[team][field].append(name)
    for fields in found.values():
        for names in fields.values():
            names.sort()
    return found


def limits(session: Session) -> Section:
    """Every quota, by kind and name."""
    rows = session.scalars(select(Quota).order_by(Quota.kind, Quota.name))
    said = {f"{row.kind}/{row.name}": {name: getattr(row, name) for name in LIMITS} for row in rows}
    return {
        name: {limit: value for limit, value in all_.items() if value is not None} for name, all_ in said.items()
    }


def budgets(session: Session) -> Section:
    """Every budget. One of a project without a team counts nothing, and can only be taken away by its own name."""
    rows = session.scalars(select(Budget).order_by(Budget.kind, Budget.name))
    return {
        f"{row.kind}/{row.name}": {"amount": row.amount}
        for row in rows
        if row.kind == "team" or in_team(row.name) is not None
    }


def accounts(session: Session, known: Mapping[str, Mapping[str, bool]]) -> dict[str, dict[str, bool]]:
    """Those that there are, as they will be once every errand is done."""
    found = {name: dict(one) for name, one in known.items()}
    for row in errands(session, ACCOUNT):
        found[row.name] = {"administrator": row.value["administrator"], "disabled": row.value["disabled"]}
    return found


def errands(session: Session, kind: str | None = None) -> Sequence[Errand]:
    """What is yet to be done, the oldest first."""
    query = select(Errand).order_by(Errand.asked_at, Errand.kind, Errand.name)
    return session.scalars(query if kind is None else query.where(Errand.kind == kind)).all()


def pending_text(session: Session, name: str) -> str | None:
    """What a file of the data folder is to say, where that is not yet written."""
    row = session.get(Errand, (FILE, name))
    return None if row is None else str(row.value["text"])


def send(session: Session, kind: str, name: str, value: dict[str, Any], actor: str, now: datetime) -> None:
    """Record an errand, in place of an earlier one for the same thing."""
    row = session.get(Errand, (kind, name))
    if row is None:
        session.add(Errand(kind=kind, name=name, value=value, asked_by=actor, asked_at=now))
    else:
        row.value, row.asked_by, row.asked_at = value, actor, now


def write(
    session: Session, changes: Sequence[Change], after: Mapping[str, Section], actor: str, now: datetime
) -> None:
    """Carry these differences into the rows, each thing once, with its event."""
    for kind, name in dict.fromkeys((one.kind, one.name) for one in changes):
        fields = after[kind].get(name)
        of_this = [one for one in changes if (one.kind, one.name) == (kind, name)]
        if kind == TEAM:
            _write_team(session, name, fields, of_this, actor, now)
        elif kind == QUOTA:
            whose, _, subject = name.partition("/")
            set_quota(session, actor, wire.QuotaRequest(kind=whose, name=subject, **(fields or {})), now)
        elif kind == BUDGET:
            whose, _, subject = name.partition("/")
            amount = None if fields is None else fields["amount"]
            set_budget(session, actor, wire.BudgetRequest(kind=whose, name=subject, amount=amount), now)
        elif kind == USER and fields is not None:
            send(session, ACCOUNT, name, dict(fields), actor, now)
            _record(session, "account.set", f"user:{name}", of_this, actor, now)
        elif kind == RATE:
            _record(session, "rate.set", f"rate:{name}", of_this, actor, now)
        elif kind in (PROFILE, DEVICES):
            thing = f"profile:{name}" if kind == PROFILE else "devices"
            _record(session, f"{kind}.set", thing, of_this, actor, now)
        session.flush()


def _write_team(
    session: Session,
    name: str,
    fields: Mapping[str, Any] | None,
    changes: Sequence[Change],
    actor: str,
    now: datetime,
) -> None:
    row = session.get(Team, name)
    if row is None:
        row = Team(name=name, leaving=False, set_by=actor, set_at=now)
        session.add(row)
    row.leaving, row.set_by, row.set_at = fields is None, actor, now
    said = fields or {"members": (), "leads": (), "projects": ()}
    for kind, field in ((TeamLead, "leads"), (TeamProject, "projects")):
        session.execute(delete(kind).where(kind.team == name))
        session.add_all([kind(team=name, name=one) for one in said[field]])
    people = {one.name: one for one in session.scalars(select(TeamMember).where(TeamMember.team == name))}
    for one in people.values():
        one.leaving = one.name not in said["members"]  # the row goes once they are out of the hub's group
    session.add_all(
        [TeamMember(team=name, name=one, leaving=False) for one in said["members"] if one not in people]
    )
    _record(session, "team.remove" if fields is None else "team.set", f"team:{name}", changes, actor, now)


def _record(session: Session, verb: str, thing: str, changes: Sequence[Change], actor: str, now: datetime) -> None:
    facts = [{"field": one.field, "before": one.before, "after": one.after} for one in changes]
    record(session, now, actor, verb, thing, {"code": "set", "facts": {"changes": facts}})

"""What the login provider last said of somebody, where something new would begin. In a caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from dure_hub.operations.login_errors import LoginEnded, TeamLeft
from dure_hub.store.models import Environment, Lease, Login

GONE, LEFT_TEAM = "login_ended", "left_team"
"""Reasons of servers that are to end."""
KEPT, TEAMS, LEFT_OUT, MANAGED = "kept", "teams", "left_out", "managed"
"""What `Login.notes` holds."""


def find(session: Session, name: str) -> Login:
    """The row of a person, new where there is none."""
    row = session.get(Login, name)
    if row is None:
        row = Login(name=name, notes={})
        session.add(row)
        session.flush()
    return row


def refuse_if_gone(session: Session, name: str, purpose: str | None = None) -> None:
    """Nothing new begins for whom the provider confirms no more. Raises `LoginEnded`.

    But for replicas (`purpose` serving): the portal asks for those again, and others use them.
    """
    row = session.get(Login, name)
    if row is not None and row.gone_at is not None and purpose != "serving":
        raise LoginEnded(user=name, at=_time(row.ends_at or row.gone_at))


def refuse_if_ending(session: Session, row: Environment, lease: Lease) -> None:
    """The end of a server whose owner was warned is not moved. Raises `LoginEnded`, `TeamLeft`."""
    refuse_if_gone(session, row.owner)
    if row.reason == LEFT_TEAM:
        raise TeamLeft(user=row.owner, team=lease.team, at=_time(lease.until))


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="minutes")

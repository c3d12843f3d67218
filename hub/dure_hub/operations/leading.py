"""Who does what only one process may do at a time, and when somebody last did it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from dure_hub.store.models import Leadership

RECONCILE, _SEEN, _AWAKE = "reconcile", "reconcile.seen", "reconcile.awake"
_LEAD = timedelta(seconds=10)


def lead(session: Session, holder: str, now: datetime, task: str = RECONCILE) -> bool:
    """Become or stay the one who does `task`, for ten seconds from now."""
    row = session.get(Leadership, task)
    if row is None:
        session.add(Leadership(task=task, holder=holder, until=now + _LEAD))
        return True
    # an end further away than anybody may set it comes from a clock that was set back
    if row.holder != holder and now < row.until <= now + _LEAD:
        return False
    row.holder, row.until = holder, now + _LEAD
    return True


def note_seen(session: Session, holder: str, at: datetime) -> None:
    """At `at` everything did run that nobody has ended since: full looks, one after the other, have told that."""
    _note(session, _SEEN, holder, at)


def last_seen(session: Session) -> datetime | None:
    """The last such time, by this process or one before it; None if nobody ever knew."""
    row = session.get(Leadership, _SEEN)
    return None if row is None else row.until


def leads(session: Session, holder: str) -> bool:
    """Whether this one was the last to lead."""
    row = session.get(Leadership, RECONCILE)
    return row is not None and row.holder == holder


def note_awake(session: Session, holder: str, at: datetime) -> None:
    """At `at` somebody was there to look, and people could be told what was to end."""
    _note(session, _AWAKE, holder, at)


def last_awake(session: Session) -> datetime | None:
    """The last such time, by this process or one before it."""
    row = session.get(Leadership, _AWAKE)
    return None if row is None else row.until


def _note(session: Session, task: str, holder: str, at: datetime) -> None:
    row = session.get(Leadership, task)
    if row is None:
        session.add(Leadership(task=task, holder=holder, until=at))
    else:
        row.holder, row.until = holder, at

"""Work on the slice that its starter's own server holds: `profile="mine"`. It is charged and counted once."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError, Text
from dure.wire.ids import new_id
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Ticket

MINE = "mine"
"""The profile's name."""
ENDED = "parent_ended"
"""Why such work ends with the server."""


class NoOwnServer(DureError):
    """Nothing of one's own runs whose slice could be used."""

    code, status = "no_own_server", 409
    message: ClassVar[Text] = {
        "en": "The profile `mine` is the slice of your own running server, and you have none.",
        "ko": "`mine` 프로필은 실행 중인 내 서버의 자리를 뜻하는데, 실행 중인 서버가 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start a server first, or name another profile. Nothing was started.",
        "ko": "먼저 서버를 시작하거나 다른 프로필을 쓰세요. 시작된 것은 없습니다.",
    }


def find(session: Session, owner: str) -> Lease:
    """The lease of one's own server, the one with most of GPUs if there are several. Raises `NoOwnServer`."""
    query = select(Lease).where(
        Lease.owner == owner,
        Lease.purpose == "notebook",
        Lease.ended_at.is_(None),
        Lease.end_reason.is_(None),
        Lease.parent.is_(None),
    )
    leases = session.scalars(query).all()
    if not leases:
        raise NoOwnServer
    return max(leases, key=lambda lease: (lease.gpus, lease.granted_at))


def grant(session: Session, ticket: Ticket, now: datetime) -> Lease:
    """A lease on the slices of one's own server, at once. It ends with the server's, and holds nothing itself."""
    parent = find(session, ticket.owner)
    session.add(ticket)
    session.flush()
    lease = Lease(
        id=new_id(),
        owner=ticket.owner,
        team=parent.team,
        project=parent.project,
        purpose=ticket.purpose,
        subject=ticket.subject,
        profile=parent.profile,
        slices=list(parent.slices),
        queue_class=ticket.queue_class,
        gpus=0,
        parent=parent.id,
        granted_at=now,
        handle={},
    )
    session.add(lease)
    ticket.state, ticket.decided_at, ticket.lease_id = "granted", now, lease.id
    ticket.verdict = {"allowed": True, "code": "own_server", "facts": {"lease": parent.id}}
    session.flush()
    facts = {"allowed": True, "code": "own_server", "facts": {"ticket": ticket.id, "parent": parent.id}}
    record(session, now, PORTAL, "lease.grant", f"lease:{lease.id}", facts, ticket.owner)
    return lease

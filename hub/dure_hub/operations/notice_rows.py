"""Notices as rows: made once a person and key, sent where that person wants them, shown as the wire has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations import notice_words as words
from dure_hub.store.models import Delivery, Notice, NoticeChannel, NoticeWishes

MAIL = "mail"
"""The name of the portal's own mail among the channels."""
MOST_AN_HOUR = 60
"""Of one person's notices so many are sent in an hour; the rest are only listed."""
KEY_LENGTH = 255


@dataclass(frozen=True)
class Draft:
    """What is to be told, and to whom: `people` by name, everybody in `teams`, and administrators.

    The same `key` is told to a person once. After `useful_until` it is not sent any more.
    """

    kind: str
    code: str
    thing: str
    key: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    people: Collection[str] = ()
    teams: Collection[str] = ()
    admins: bool = False
    useful_until: datetime | None = None


def make(session: Session, person: str, draft: Draft, now: datetime, mails: bool) -> Notice | None:
    """Write it down with what is to be sent; None if this person was told of it already."""
    key = draft.key[:KEY_LENGTH]
    if session.scalar(select(Notice.id).where(Notice.person == person, Notice.key == key)) is not None:
        return None
    wishes = session.get(NoticeWishes, person)
    muted = wishes is not None and draft.kind in wishes.off
    row = Notice(
        id=new_id(),
        person=person,
        kind=draft.kind,
        code=draft.code,
        thing=draft.thing[:KEY_LENGTH],
        facts=dict(draft.facts),
        key=key,
        made_at=now,
        useful_until=draft.useful_until,
        seen_at=now if muted else None,  # who wants none of a kind is not reminded of them either
    )
    hour = select(func.count()).where(Notice.person == person, Notice.made_at > now - timedelta(hours=1))
    often = (session.scalar(hour) or 0) >= MOST_AN_HOUR
    session.add(row)
    session.flush()
    if not (muted or often):
        channels: list[str | None] = list(
            session.scalars(select(NoticeChannel.id).where(NoticeChannel.person == person))
        )
        if mails and (wishes is None or wishes.mail):
            channels.append(None)
        session.add_all(Delivery(id=new_id(), notice_id=row.id, channel=one, next_at=now) for one in channels)
    return row


def forget_channels(session: Session, person: str) -> None:
    """Send to none of this person's addresses any more: whoever held the account may have named them."""
    mine = select(NoticeChannel.id).where(NoticeChannel.person == person)
    session.execute(delete(Delivery).where(Delivery.channel.in_(mine)))
    session.execute(delete(NoticeChannel).where(NoticeChannel.person == person))


def on_wire(session: Session, rows: Sequence[Notice], address: str) -> list[wire.Notice]:
    """As their person sees them."""
    query = select(Delivery).where(Delivery.notice_id.in_([row.id for row in rows])).order_by(Delivery.id)
    sent: dict[str, list[Delivery]] = {}
    for one in session.scalars(query):
        sent.setdefault(one.notice_id, []).append(one)
    return [
        wire.Notice(
            id=row.id,
            kind=row.kind,
            code=row.code,
            thing=row.thing,
            facts=row.facts,
            text=words.both(row.code, row.facts),
            made_at=row.made_at,
            seen_at=row.seen_at,
            page=address + page_of(row.thing),
            deliveries=[delivery_on_wire(one) for one in sent.get(row.id, [])],
        )
        for row in rows
    ]


def delivery_on_wire(row: Delivery) -> wire.NoticeDelivery:
    """Where it was sent and what came of it."""
    state = "sent" if row.sent_at else "failed" if row.next_at is None else "waiting"
    return wire.NoticeDelivery(
        channel=row.channel or MAIL,
        state=state,
        tries=row.tries,
        sent_at=row.sent_at,
        next_at=row.next_at,
        error=row.error,
    )


def page_of(thing: str) -> str:
    """The path of the page where its reader can do something about it."""
    kind, _, name = thing.partition(":")
    owner, _, rest = name.partition("/")
    if kind in ("schedule", "execution") and owner and rest:
        return f"/services/dure/schedules/{rest}"
    return "/services/dure/"

"""Notices are sent from here, each to every place its person wants it at, and tried again for a day.

That one is tried is on its row before it is, with the time of the next try; so of a portal that is killed in the
middle none is lost, and what it was just sending may arrive a second time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import and_, delete, false, or_, select
from sqlalchemy.orm import Session

from dure_hub.noticeapi import FOR_GOOD, Message, NoticeApi
from dure_hub.operations import notice_words as words
from dure_hub.operations.background import Background
from dure_hub.operations.notice_rows import MAIL
from dure_hub.operations.notice_secrets import Box
from dure_hub.policies.notices import TRIED_FOR, next_try
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Delivery, Notice, NoticeChannel, NoticeWishes

log = logging.getLogger(__name__)

_AT_ONCE, _TOGETHER = 2, 8
"""So many processes send to people's addresses at a time, each to another person's, besides one for the portal's
mail; each so many messages to its one address."""
_CLAIM = timedelta(seconds=90)
"""Whoever claims a sending has ended it by then, or was killed."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_KEPT_EACH = 1000
PAGE = "/services/dure/notices"


@dataclass(frozen=True)
class Batch:
    """What goes to one address: the encrypted `sealed`, or None for the portal's own mail."""

    channel: str
    person: str | None
    """Whose address it is; None is the portal's mail."""
    sealed: str | None
    messages: Sequence[Message]


class NoticeSending:
    """Sends what is due, in the background."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, api: NoticeApi) -> None:
        self._settings, self._store, self._clock, self._api = settings, store, clock, api
        self._box = Box(settings)
        self._busy: dict[str, str | None] = {}
        """Where somebody sends, and whose address that is."""
        self.background = Background(self._done)
        self.kick = _nothing
        """Called when something was sent; the portal's loop, once there is one."""

    async def send(self) -> None:
        """Begin to send what is due; answers before that has ended."""
        free = _AT_ONCE - len(self._busy.keys() - {MAIL})
        if free <= 0 and MAIL in self._busy:
            return
        if not await self._store.read(lambda session: bool(self._due(session, free))):
            return
        for batch in await self._store.run(partial(self._claim, free=free)):
            self._busy[batch.channel] = batch.person
            self.background.run(batch.channel, partial(self._deliver, batch))

    async def tidy(self) -> None:
        """Forget what is older than `notices_kept_days`, and of each person all but the newest thousand."""
        await self._store.run(self._forget)

    async def _deliver(self, batch: Batch) -> bool:
        try:
            outcome = await self._outcome(batch)
            await self._store.run(partial(self._note, outcome=outcome))
        finally:  # not before what came of it is on its row: else the next pass may send it once more
            del self._busy[batch.channel]
        return True

    async def _outcome(self, batch: Batch) -> Mapping[str, str | None]:
        lost = {one.id: "no_mail_address" for one in batch.messages if batch.sealed is None and one.to is None}
        messages = [one for one in batch.messages if one.id not in lost]
        if batch.sealed is None:
            return {**lost, **(await self._api.mail(messages) if messages else {})}
        url = self._box.open(batch.sealed)
        if url is None:
            return {one.id: "bad_address" for one in messages}
        return await self._api.send(url, messages)

    def _due(self, session: Session, free: int) -> list[tuple[Delivery, Notice]]:
        """What can be sent now, what was tried least first; of nobody's addresses while one of theirs is sent to.

        With none `free`, only the portal's mail.
        """
        busy = [person for person in self._busy.values() if person is not None]
        mail = Delivery.channel.is_(None) if MAIL not in self._busy else false()
        theirs = and_(Delivery.channel.is_not(None), Notice.person.not_in(busy)) if free > 0 else false()
        query = (
            select(Delivery, Notice)
            .join(Notice, Notice.id == Delivery.notice_id)
            .where(Delivery.next_at <= self._clock(), or_(mail, theirs))
            .order_by(Delivery.tries, Delivery.next_at, Delivery.id)
            .limit(200)
        )
        return [(one, notice) for one, notice in session.execute(query)]

    def _claim(self, session: Session, *, free: int) -> list[Batch]:
        now = self._clock()
        found: dict[str, list[Message]] = {}
        whose: dict[str, str] = {}
        for one, notice in self._due(session, free):
            if late := _too_late(notice, now):
                one.next_at, one.error, one.error_at = None, one.error or late, now
                continue
            channel = one.channel or MAIL
            if len(found.get(channel, ())) == _TOGETHER:
                continue
            if channel not in found and channel != MAIL:
                if len(whose) == free or notice.person in whose.values():
                    continue
                whose[channel] = notice.person
            one.tries, one.next_at = one.tries + 1, now + _CLAIM
            found.setdefault(channel, []).append(self._message(session, one, notice))
        return [
            Batch(channel, whose.get(channel), self._sealed(session, channel), messages)
            for channel, messages in found.items()
        ]

    def _sealed(self, session: Session, channel: str) -> str | None:
        return None if channel == MAIL else session.get_one(NoticeChannel, channel).sealed

    def _message(self, session: Session, one: Delivery, notice: Notice) -> Message:
        wishes = session.get(NoticeWishes, notice.person)
        language = (wishes.language if wishes else None) or self._settings.language
        timezone = wishes.timezone if wishes else None
        text = words.in_zone(words.sentence(notice.code, notice.facts, language), timezone)
        title = f"Dure: {words.title(notice.kind, language)}"
        body = f"{text}\n\n{self._settings.address}{PAGE}"
        return Message(
            one.id, title, body, mail_of(self._settings, notice.person) if one.channel is None else None
        )

    def _note(self, session: Session, *, outcome: Mapping[str, str | None]) -> None:
        now = self._clock()
        for key, error in outcome.items():
            one = session.get(Delivery, key)
            if one is None:  # its channel was removed meanwhile
                continue
            if error is None:
                one.sent_at, one.next_at, one.error = now, None, None
                continue
            made_at = session.get_one(Notice, one.notice_id).made_at
            one.next_at = None if error in FOR_GOOD else next_try(one.tries, made_at, now)
            one.error, one.error_at = error, now
            log.info("notice %s: not sent at try %s (%s)", one.notice_id, one.tries, error)

    def _forget(self, session: Session) -> None:
        before = self._clock() - timedelta(days=self._settings.notices_kept_days)
        old = list(session.scalars(select(Notice.id).where(Notice.made_at < before).limit(5000)))
        for person in session.scalars(select(Notice.person).distinct()):
            newest = select(Notice.id).where(Notice.person == person).order_by(Notice.id.desc()).offset(_KEPT_EACH)
            old += session.scalars(newest.limit(5000))
        for start in range(0, len(old), 500):
            some = old[start : start + 500]
            session.execute(delete(Delivery).where(Delivery.notice_id.in_(some)))
            session.execute(delete(Notice).where(Notice.id.in_(some)))

    def _done(self) -> None:
        self.kick()


def mail_of(settings: Settings, person: str) -> str | None:
    """Where the portal's mail reaches a person; None where that is no single address."""
    address = settings.mail_address.replace("{name}", person)
    return address if settings.mails and _ADDRESS.fullmatch(address) else None


def _too_late(notice: Notice, now: datetime) -> str | None:
    if notice.useful_until is not None and now >= notice.useful_until:
        return "too_late"
    return "no_answer" if now > notice.made_at + TRIED_FOR else None


def _nothing() -> None:
    return None

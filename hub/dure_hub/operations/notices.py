"""What people do with their notices: read them, say where they are sent and of what, try that."""

from __future__ import annotations

import builtins
from functools import partial
from typing import ClassVar
from zoneinfo import available_timezones

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import BadRequest, Conflict, DureError, NotFound, Text
from dure_hub.noticeapi import Checked, NoticeApi
from dure_hub.operations.notice_making import NoticeMaking
from dure_hub.operations.notice_rows import MAIL, Draft, make, on_wire
from dure_hub.operations.notice_secrets import Box
from dure_hub.operations.notice_sending import NoticeSending, mail_of
from dure_hub.operations.people import Person
from dure_hub.policies.notices import KINDS
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Delivery, Notice, NoticeChannel, NoticeWishes

MOST_CHANNELS = 10
_MOST = 500
_ZONE: Text = {"en": "a name of the time zone database, as Asia/Seoul", "ko": "Asia/Seoul 같은 시간대 이름"}
_KIND: Text = {"en": "one of " + ", ".join(KINDS), "ko": "다음 중 하나: " + ", ".join(KINDS)}


class BadNoticeAddress(DureError):
    """Nothing can be sent to this address, or nothing may. The answer leaves it out: it may hold a secret."""

    code, status = "bad_notice_address", 422
    message: ClassVar[Text] = {
        "en": "Notices cannot be sent to this address ({why}). Kinds that this portal sends to: {schemes}.",
        "ko": "이 주소로는 알림을 보낼 수 없습니다({why}). 이 포털이 보낼 수 있는 종류: {schemes}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Write it as Apprise does, as `jsons://example.org/hook` or `mailtos://…`. Nothing was changed.",
        "ko": "`jsons://example.org/hook`이나 `mailtos://…`처럼 Apprise 형식으로 적으세요. 변경된 것은 없습니다.",
    }


class Notices:
    """All of that, each for themselves; administrators see what could not be sent."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        making: NoticeMaking,
        sending: NoticeSending,
        api: NoticeApi,
    ) -> None:
        self.making, self.sending = making, sending
        self._settings, self._store, self._clock, self._api = settings, store, clock, api
        self._box = Box(settings)

    async def work(self) -> None:
        """One pass of the portal's loop: tell, warn, send."""
        await self.making.of_events()
        await self.making.of_ends()
        await self.sending.send()

    async def close(self) -> None:
        """Give up what is being sent: it is tried again."""
        await self.sending.background.close()

    async def list(
        self, person: Person, *, unseen: bool = False, limit: int = 50, before: str | None = None
    ) -> builtins.list[wire.Notice]:
        """The newest first; `before` is the id of the last one already read."""

        def read(session: Session) -> builtins.list[wire.Notice]:
            query = select(Notice).where(Notice.person == person.name).order_by(Notice.id.desc())
            if before is not None:
                query = query.where(Notice.id < before)
            if unseen:
                query = query.where(Notice.seen_at.is_(None))
            rows = session.scalars(query.limit(max(1, min(limit, _MOST)))).all()
            return on_wire(session, rows, self._settings.address)

        return await self._store.read(read)

    async def unread(self, person: Person) -> int:
        """How many are unread."""
        query = select(func.count()).where(Notice.person == person.name, Notice.seen_at.is_(None))
        return await self._store.read(lambda session: session.scalar(query) or 0)

    async def seen(self, person: Person, ask: wire.SeenRequest) -> None:
        """Mark as read. Twice is once, and what is not there is no error."""
        query = update(Notice).where(Notice.person == person.name, Notice.seen_at.is_(None))
        query = query.where(Notice.id <= ask.through) if ask.through else query.where(Notice.id.in_(ask.ids))
        await self._store.run(lambda session: session.execute(query.values(seen_at=self._clock())))

    async def settings(self, person: Person) -> wire.NoticeSettings:
        """How this person is told."""
        return await self._store.read(partial(self._shown, person=person))

    async def set(self, person: Person, ask: wire.NoticeSettingsRequest) -> wire.NoticeSettings:
        """Change it. Raises `BadRequest`."""
        if ask.timezone is not None and ask.timezone not in available_timezones():
            raise BadRequest(field="timezone", value=ask.timezone, rule=_ZONE)
        if wrong := [kind for kind in ask.off if kind not in KINDS]:
            raise BadRequest(field="off", value=wrong[0], rule=_KIND)

        def write(session: Session) -> wire.NoticeSettings:
            values = {"language": ask.language, "timezone": ask.timezone, "mail": ask.mail}
            session.merge(NoticeWishes(person=person.name, off=sorted(set(ask.off)), **values))
            session.flush()
            return self._shown(session, person=person)

        return await self._store.run(write)

    async def add(self, person: Person, ask: wire.NoticeChannelRequest) -> wire.NoticeChannel:
        """Send to this address, too. Raises `BadNoticeAddress`, `Conflict`."""
        await self._store.read(partial(_place_for, person=person, ask=ask))  # before a process begins for it
        checked = await self._api.check(ask.url)
        if checked.error is not None:
            raise BadNoticeAddress(why=checked.error, schemes=", ".join(self._settings.notice_schemes))
        return await self._store.run(partial(self._add, person=person, ask=ask, checked=checked))

    def _add(
        self, session: Session, *, person: Person, ask: wire.NoticeChannelRequest, checked: Checked
    ) -> wire.NoticeChannel:
        if (row := _place_for(session, person=person, ask=ask)) is not None:
            return _channel(session, row)
        now = self._clock()
        host = None if checked.host is None else checked.host[:255]
        row = NoticeChannel(
            id=ask.id,
            person=person.name,
            scheme=checked.scheme,
            host=host,
            sealed=self._box.close(ask.url),
            made_at=now,
        )
        session.add(row)
        facts = {"scheme": row.scheme, "host": row.host}
        record(session, now, person.name, "notices.channel_add", f"channel:{row.id}", facts)
        return _channel(session, row)

    async def remove(self, person: Person, channel: str) -> None:
        """Send there no more. Raises `NotFound`."""

        def write(session: Session) -> None:
            row = session.get(NoticeChannel, channel)
            if row is None or row.person != person.name:
                raise NotFound(kind="notice channel", name=channel)
            session.execute(delete(Delivery).where(Delivery.channel == row.id))
            session.delete(row)
            record(session, self._clock, person.name, "notices.channel_remove", f"channel:{row.id}")

        await self._store.run(write)

    async def test(self, person: Person) -> wire.Notice:
        """Send a notice everywhere; that of this minute, where one was sent already."""

        def write(session: Session) -> wire.Notice:
            now = self._clock()
            draft = Draft("test", "test", f"user:{person.name}", f"test/{now:%FT%H:%M}")
            row = make(session, person.name, draft, now, self._settings.mails)
            if row is None:
                row = session.scalar(select(Notice).where(Notice.person == person.name, Notice.key == draft.key))
            assert row is not None  # noqa: S101 - made now, or before
            session.flush()
            return on_wire(session, [row], self._settings.address)[0]

        made = await self._store.run(write)
        self.sending.kick()
        return made

    async def failures(self, person: Person, limit: int = 100) -> builtins.list[wire.NoticeFailure]:
        """What was not sent at the last try, of everybody, the latest first. Raises `NotAllowed`."""
        person.need_admin()

        def read(session: Session) -> builtins.list[wire.NoticeFailure]:
            query = (
                select(Delivery, Notice, NoticeChannel)
                .join(Notice, Notice.id == Delivery.notice_id)
                .outerjoin(NoticeChannel, NoticeChannel.id == Delivery.channel)
                .where(Delivery.error.is_not(None))
                .order_by(Delivery.error_at.desc())
                .limit(max(1, min(limit, _MOST)))
            )
            return [_failure(*one) for one in session.execute(query)]

        return await self._store.read(read)

    def _shown(self, session: Session, *, person: Person) -> wire.NoticeSettings:
        wishes = session.get(NoticeWishes, person.name)
        channels = select(NoticeChannel).where(NoticeChannel.person == person.name).order_by(NoticeChannel.id)
        return wire.NoticeSettings(
            language=wishes.language if wishes else None,
            timezone=wishes.timezone if wishes else None,
            mail=wishes.mail if wishes else True,
            mail_to=mail_of(self._settings, person.name),
            off=wishes.off if wishes else [],
            kinds=list(KINDS),
            schemes=self._settings.notice_schemes,
            channels=[_channel(session, row) for row in session.scalars(channels)],
        )


def _place_for(session: Session, *, person: Person, ask: wire.NoticeChannelRequest) -> NoticeChannel | None:
    """The person's channel of this id, if it is there already; None is room for it. Raises `Conflict`."""
    row = session.get(NoticeChannel, ask.id)
    if row is not None and row.person == person.name:
        return row
    mine = select(func.count()).where(NoticeChannel.person == person.name)
    if row is not None or (session.scalar(mine) or 0) >= MOST_CHANNELS:
        raise Conflict(kind="notice channel", name=ask.id)
    return None


def _channel(session: Session, row: NoticeChannel) -> wire.NoticeChannel:
    last = select(Delivery).where(Delivery.channel == row.id, Delivery.tries > 0).order_by(Delivery.id.desc())
    newest = session.scalars(last.limit(1)).first()
    sent = select(func.max(Delivery.sent_at)).where(Delivery.channel == row.id)
    return wire.NoticeChannel(
        id=row.id,
        scheme=row.scheme,
        host=row.host,
        made_at=row.made_at,
        last_sent_at=session.scalar(sent),
        last_error=newest.error if newest is not None else None,
    )


def _failure(one: Delivery, notice: Notice, channel: NoticeChannel | None) -> wire.NoticeFailure:
    return wire.NoticeFailure(
        person=notice.person,
        kind=notice.kind,
        channel=one.channel or MAIL,
        scheme=channel.scheme if channel is not None else MAIL,
        host=channel.host if channel is not None else None,
        state="waiting" if one.next_at is not None else "failed",
        tries=one.tries,
        error=one.error,
        error_at=one.error_at,
    )

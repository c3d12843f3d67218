"""What people are told by themselves, where it is sent, and how they want it. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from dure.wire.base import Answer, Ask, Ulid

Kind = Annotated[str, Field(max_length=30, pattern=r"^[a-z]+$")]


class NoticeDelivery(Answer):
    """One sending: to `channel` (its id, or `mail`). `state` is waiting, sent or failed.

    `error` is the code of what the last try came to: http_<status>, no_answer, unknown_host, address_not_allowed,
    scheme_not_allowed, bad_address, too_late, failed; null where it went well.
    """

    channel: str
    state: str
    tries: int = 0
    sent_at: datetime | None = None
    next_at: datetime | None = None
    error: str | None = None


class Notice(Answer):
    """One thing that you are told: `text` in each language, with times as `2026-01-31T18:00:00Z`.

    `kind` is turn, ending, stopped, limit, device, job, schedule, endpoint or test; `thing` as in events. `page`
    is where something can be done about it. `seen_at` is null until you have read it.
    """

    id: str
    kind: str
    code: str
    thing: str
    facts: dict[str, Any] = {}
    text: dict[str, str]
    made_at: datetime
    seen_at: datetime | None = None
    page: str
    deliveries: list[NoticeDelivery] = []


class SeenRequest(Ask):
    """Mark as read: these, or all up to and with `through`."""

    ids: list[Ulid] = Field(default=[], max_length=500)
    through: Ulid | None = None


class NoticeChannel(Answer):
    """An address of yours, of which only scheme and host are ever shown; `host` is null where a service has it."""

    id: str
    scheme: str
    host: str | None = None
    made_at: datetime
    last_sent_at: datetime | None = None
    last_error: str | None = None


class NoticeChannelRequest(Ask):
    """Send notices there, too. The same `id` sent twice is one request. `url` is as Apprise writes addresses."""

    id: Ulid
    url: str = Field(min_length=3, max_length=2000, pattern=r"^[^\x00-\x20\x7f]+$")


class NoticeSettings(Answer):
    """How you are told. `off` are kinds that are only listed; `mail_to` is where the portal's own mail goes.

    Null is the portal's own language, and UTC. `kinds` are all there are.
    """

    language: str | None = None
    timezone: str | None = None
    mail: bool = True
    mail_to: str | None = None
    off: list[str] = []
    kinds: list[str] = []
    schemes: list[str] = []
    channels: list[NoticeChannel] = []


class NoticeSettingsRequest(Ask):
    """All of it at once. `timezone` is a name of the time zone database: `Asia/Seoul`."""

    language: Literal["en", "ko"] | None = None
    timezone: str | None = Field(default=None, max_length=60, pattern=r"^[A-Za-z0-9_+/-]+$")
    mail: bool = True
    off: list[Kind] = Field(default=[], max_length=20)


class NoticeFailure(Answer):
    """A sending that did not succeed so far, for administrators: whose, where to, and what came of it."""

    person: str
    kind: str
    channel: str
    scheme: str
    host: str | None = None
    state: str
    tries: int
    error: str | None = None
    error_at: datetime | None = None

"""What you are told by itself, and how."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from dure.wire.ids import ULID_PATTERN
from dure.wire.notices import (
    Notice,
    NoticeChannel,
    NoticeChannelRequest,
    NoticeFailure,
    NoticeSettings,
    NoticeSettingsRequest,
    SeenRequest,
)
from dure_hub.operations import Operations
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.services.fields import PathId
from dure_hub.services.guard import looks, needs, starts
from dure_hub.services.portal import operations_of

router = APIRouter(tags=["notices"])
Ops = Annotated[Operations, Depends(operations_of)]
Looker = Annotated[Person, looks(USE)]
Caller = Annotated[Person, needs(USE)]
Changer = Annotated[Person, starts(USE)]


@router.get("/me/notices")
async def list_notices(
    person: Looker,
    ops: Ops,
    unseen: bool = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[str | None, Query(pattern=ULID_PATTERN)] = None,
) -> list[Notice]:
    """The newest first; `before` is the id of the last one already read. Open pages ask again and again."""
    return await ops.notices.list(person, unseen=unseen, limit=limit, before=before)


@router.post("/me/notices/seen", status_code=204)
async def mark_read(ask: SeenRequest, person: Changer, ops: Ops) -> Response:
    """Mark some as read, or all up to one."""
    await ops.notices.seen(person, ask)
    return Response(status_code=204)


@router.get("/me/notices/settings")
async def get_notice_settings(person: Caller, ops: Ops) -> NoticeSettings:
    """How you are told, and where. Of an address only its scheme and host are shown."""
    return await ops.notices.settings(person)


@router.put("/me/notices/settings")
async def set_notice_settings(ask: NoticeSettingsRequest, person: Changer, ops: Ops) -> NoticeSettings:
    """Change how you are told."""
    return await ops.notices.set(person, ask)


@router.post("/me/notices/channels", status_code=201)
async def add_channel(ask: NoticeChannelRequest, person: Changer, ops: Ops) -> NoticeChannel:
    """Have notices sent to this address, too. It is looked at, and nothing is sent yet."""
    return await ops.notices.add(person, ask)


@router.delete("/me/notices/channels/{channel}", status_code=204)
async def remove_channel(channel: PathId, person: Changer, ops: Ops) -> Response:
    """Have nothing sent there any more."""
    await ops.notices.remove(person, channel)
    return Response(status_code=204)


@router.post("/me/notices/test", status_code=202)
async def send_test(person: Changer, ops: Ops) -> Notice:
    """Send a notice everywhere it would go, once a minute at most."""
    return await ops.notices.test(person)


@router.get("/notices/failures")
async def list_failures(person: Annotated[Person, needs(ADMIN)], ops: Ops) -> list[NoticeFailure]:
    """What could not be sent so far, of everybody, the latest first; for administrators."""
    return await ops.notices.failures(person)

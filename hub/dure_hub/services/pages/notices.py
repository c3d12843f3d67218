"""The page of notices: what the reader is told, the newest first, and how and where it is sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from dure import wire
from dure.wire.ids import ULID_PATTERN, new_id
from dure_hub.operations import Operations
from dure_hub.operations.notice_rows import MAIL, page_of
from dure_hub.operations.people import USE, Person
from dure_hub.services.fields import PathId
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages.rendering import page
from dure_hub.services.pages.words import has, say
from dure_hub.services.places import BASE
from dure_hub.services.portal import operations_of

PLACE = f"{BASE}/notices"
SHOWN, TROUBLES = 50, 20
router = APIRouter(prefix=PLACE, include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]
Before = Annotated[str | None, Query(pattern=ULID_PATTERN)]


@router.get("")
async def show(request: Request, person: Visitor, ops: Ops, before: Before = None) -> Response:
    """The newest notices, or those before one; settings and addresses below."""
    found = await ops.notices.list(person, limit=SHOWN, before=before)
    language = language_of(request)
    return page(
        request,
        "notices.html",
        notices=found,
        page_of=page_of,  # and not its `page`, which is for mail: people stay at the address that they came to
        older=found[-1].id if len(found) == SHOWN else None,
        settings=await ops.notices.settings(person),
        troubles=await ops.notices.failures(person, TROUBLES) if person.admin else [],
        why=lambda error: _why(error, language),
        place_of=lambda scheme, host: _place(scheme, host, language),
        id=new_id(),
    )


@router.post("/seen")
async def read_all(request: Request, person: Visitor, ops: Ops) -> Response:
    """Mark all as read that the page has shown, and what is older."""
    through = str((await request.form()).get("through", ""))
    await ops.notices.seen(person, _read(wire.SeenRequest, {"through": through}))
    return _back(ops)


@router.post("/settings")
async def save(request: Request, person: Visitor, ops: Ops) -> Response:
    """Change how the reader is told."""
    form = await request.form()
    kinds = (await ops.notices.settings(person)).kinds
    wanted = {str(kind) for kind in form.getlist("kind")}
    values = {
        "language": str(form.get("language", "")) or None,
        "timezone": str(form.get("timezone", "")).strip() or None,
        "mail": "mail" in form,
        "off": [kind for kind in kinds if kind not in wanted and kind != "test"],
    }
    await ops.notices.set(person, _read(wire.NoticeSettingsRequest, values))
    return _back(ops)


@router.post("/channels")
async def add(request: Request, person: Visitor, ops: Ops) -> Response:
    """Send to an address, too."""
    form = await request.form()
    values = {"id": str(form.get("id", "")), "url": str(form.get("url", "")).strip()}
    await ops.notices.add(person, _read(wire.NoticeChannelRequest, values))
    return _back(ops)


@router.post("/channels/{channel}/remove")
async def remove(channel: PathId, person: Visitor, ops: Ops) -> Response:
    """Send there no more."""
    await ops.notices.remove(person, channel)
    return _back(ops)


@router.post("/test")
async def test(person: Visitor, ops: Ops) -> Response:
    """Send a notice everywhere."""
    await ops.notices.test(person)
    return _back(ops)


def _read(kind: Any, values: dict[str, Any]) -> Any:
    """A form as what the API takes. An address is in no answer: it may hold a secret."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError([{**one, "input": None} for one in error.errors()]) from error


def _why(error: str, language: str) -> str:
    """In words; a code this version does not know, as it is."""
    kind, _, status = error.partition("_")
    if kind == "http":
        return say("notice.http", language, {"status": status})
    return say(f"notice.{error}", language) if has(f"notice.{error}") else error


def _place(scheme: str, host: str | None, language: str) -> str:
    """As much of an address as is ever shown."""
    if scheme == MAIL:
        return say("notices.mail.name", language)
    return f"{scheme}://{host or '…'}"


def _back(ops: Operations) -> Response:
    return RedirectResponse(ops.settings.at(PLACE), status_code=303)

"""Follow a server until it runs, leave the queue, or take what is free instead."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from dure.errors import NotFound
from dure.wire.environments import Environment, EnvironmentRequest
from dure.wire.ids import new_id
from dure_hub.operations import Operations, admission
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.people import USE, Person
from dure_hub.services.fields import PathName
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages import words
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE, HOME
from dure_hub.services.portal import operations_of

router = APIRouter(prefix=f"{BASE}/wait", include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]

_MOVING = frozenset({"waiting", "starting", "stopping"})


@router.get("/{name}")
async def follow(name: PathName, request: Request, person: Visitor, ops: Ops) -> Response:
    """How far it is; straight on to the server if it runs."""
    server = await ops.environments.get(person, name)
    if server.phase == "running" and server.url:
        return RedirectResponse(server.url, status_code=303)
    language = language_of(request)
    return page(
        request,
        "wait.html",
        server=server,
        moving=server.phase in _MOVING,
        why=_why(server, language),
        id=new_id(),
    )


@router.post("/{name}/stop")
async def stop(name: PathName, person: Visitor, ops: Ops) -> Response:
    """Stop it, or leave the queue."""
    await ops.environments.stop(person, name)
    return RedirectResponse(HOME, status_code=303)


@router.post("/{name}/instead")
async def instead(name: PathName, request: Request, person: Visitor, ops: Ops) -> Response:
    """Leave the queue and ask for another profile under the same name; what was granted meanwhile goes on."""
    form = await request.form()
    try:
        ask = EnvironmentRequest.model_validate(
            {"id": str(form.get("id", "")), "name": name, "profile": str(form.get("profile", ""))}
        )
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    await ops.profiles.get(ask.profile)  # or `NoSuchProfile`, before the place in line is given up
    if await ops.store.run(lambda session: _leave(session, person, ask, ops.clock())):
        await ops.environments.request(person, ask)
    return RedirectResponse(f"{BASE}/wait/{name}", status_code=303)


def _leave(session: Session, person: Person, ask: EnvironmentRequest, now: datetime) -> bool:
    """Give up the place in line, and whether this name is free for `ask` now.

    In the transaction that looks: the place may be granted at any moment, and a server that starts is not stopped.
    """
    row = rows.find(session, person.name, ask.name)
    if row is None:
        raise NotFound(kind="environment", name=ask.name)
    # Sent twice, the form finds its own ticket; that stays.
    place = row.ticket_id if row.phase == rows.WAITING and row.ticket_id != ask.id else None
    if place is not None and admission.cancel(session, place, "cancelled", now, person.name) is not None:
        row.phase, row.reason = rows.STOPPED, "cancelled"
    return row.phase not in rows.ALIVE


def _why(server: Environment, language: str) -> str | None:
    """The sentence of the ticket's verdict; none for a code this version has no words for."""
    if server.ticket is None:
        return None
    key = f"verdict.{server.ticket.verdict.get('code')}"
    facts = {"profile": server.profile, **server.ticket.verdict.get("facts", {})}
    return words.say(key, language, facts) if words.has(key) else None

"""Schedules: the list, one with its executions, and one execution with the notebook it left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from cronsim import CronSim, CronSimError
from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.operations.schedule_rows import OVER
from dure_hub.services.about import gaps
from dure_hub.services.fields import Owner, PathName
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages import notebooks
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import API, BASE
from dure_hub.services.portal import operations_of
from dure_hub.services.schedules import Number

PLACE = f"{BASE}/schedules"
router = APIRouter(prefix=PLACE, include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]
Framed = Annotated[Person, opens_for(USE, framed=True)]

TAIL = 20_000
"""Characters of a log that the page shows."""
_CHARACTER = 4
"""Bytes of the longest."""


@router.get("")
async def show_all(
    request: Request, person: Visitor, ops: Ops, owner: Owner = None, everyone: bool = False
) -> Response:
    """My schedules; for administrators with `owner` those of somebody else, with `everyone` all there are."""
    other = everyone or owner not in (None, person.name)
    found = await ops.schedules.list(person, everyone=other)
    shown = [one for one in found if everyone or one.owner == (owner or person.name)]
    return page(
        request,
        "schedules.html",
        schedules=[{"is": one, "words": _in_words(one.cron, request), "id": new_id()} for one in shown],
        everyone=everyone,
        gaps=gaps(ops, language_of(request)),
        moving=any(one.last is not None and one.last.state not in OVER for one in shown),
        **_whose(person, owner),
    )


@router.get("/{name}")
async def show_one(name: PathName, request: Request, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """One schedule with its executions, the newest first."""
    schedule = await ops.schedules.get(person, name, owner=owner)
    executions = await ops.schedules.executions(person, name, owner=owner)
    return page(
        request,
        "schedule.html",
        schedule=schedule,
        words=_in_words(schedule.cron, request),
        executions=executions,
        moving=any(execution.state not in OVER for execution in executions),
        id=new_id(),
        **_whose(person, owner),
    )


@router.post("/{name}/pause")
async def pause(name: PathName, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """Let it run no more."""
    await ops.schedules.pause(person, name, owner=owner)
    return _to(ops, "", person, owner)


@router.post("/{name}/resume")
async def resume(name: PathName, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """Let it run again."""
    await ops.schedules.resume(person, name, owner=owner)
    return _to(ops, "", person, owner)


@router.post("/{name}/delete")
async def delete(name: PathName, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """End it for good."""
    await ops.schedules.delete(person, name, owner=owner)
    return _to(ops, "", person, owner)


@router.post("/{name}/run")
async def run(name: PathName, request: Request, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """Run it once, with its own parameters, and go to that execution. Sent twice, the form runs it once."""
    form = await request.form()
    try:
        ask = wire.RunRequest.model_validate({"id": str(form.get("id", ""))})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    execution = await ops.schedules.run_now(person, name, ask, owner=owner)
    return _to(ops, f"/{name}/{execution.number}", person, owner)


@router.get("/{name}/{number}")
async def show_execution(
    name: PathName, number: Number, request: Request, person: Visitor, ops: Ops, owner: Owner = None
) -> Response:
    """One execution: how it stands, what it says, and the notebook as far as it came."""
    execution = await ops.schedules.execution(person, name, number, owner=owner)
    return page(
        request,
        "execution.html",
        frames=True,
        schedule=await ops.schedules.get(person, name, owner=owner),
        execution=execution,
        moving=execution.state not in OVER,
        log=await _tail(ops, person, name, number, owner),
        kept=await ops.schedules.keeps(person, name, number, owner=owner),
        call=ops.settings.at(f"{API}/schedules/{name}/executions/{number}"),
        **_whose(person, owner),
    )


@router.post("/{name}/{number}/stop")
async def stop(name: PathName, number: Number, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """Ask it to stop; what has run is kept."""
    await ops.schedules.stop(person, name, number, owner=owner)
    return _to(ops, f"/{name}/{number}", person, owner)


@router.get("/{name}/{number}/notebook")
async def show_notebook(
    name: PathName, number: Number, request: Request, person: Framed, ops: Ops, owner: Owner = None
) -> Response:
    """The executed notebook for the frame. Nothing of it runs, and it has an origin of its own."""
    return await notebooks.framed(request, ops.schedules.notebook(person, name, number, owner=owner))


@router.get("/{name}/{number}/download")
async def download(name: PathName, number: Number, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """The executed notebook as a file."""
    content = await ops.schedules.notebook(person, name, number, owner=owner)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{number}.ipynb"'}
    return Response(content, headers=headers, media_type="application/x-ipynb+json")


def _whose(person: Person, owner: str | None) -> dict[str, Any]:
    """What the templates know of whose it is: an administrator's links go on with the owner's name in them."""
    mine = owner is None or owner == person.name
    return {"mine": mine, "owner": owner or person.name, "query": {} if mine else {"owner": owner}}


def _to(ops: Operations, where: str, person: Person, owner: str | None) -> Response:
    query = _whose(person, owner)["query"]
    return RedirectResponse(
        f"{ops.settings.at(PLACE)}{where}{'?' + urlencode(query) if query else ''}", status_code=303
    )


def _in_words(cron: str, request: Request) -> str | None:
    """When that is, in English words; the library has no others."""
    if language_of(request) != "en":
        return None
    try:
        return str(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)).explain())
    except CronSimError:
        return None


async def _tail(ops: Operations, person: Person, name: str, number: int, owner: str | None) -> dict[str, Any]:
    """The end of the log, and where the page's script goes on."""
    end = await ops.schedules.logs(person, name, number, -TAIL * _CHARACTER, owner=owner)
    cut = end.offset > 0 or len(end.text) > TAIL
    return {"text": end.text[-TAIL:], "offset": end.next_offset, "cut": cut}

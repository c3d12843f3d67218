"""The first page: everything of yours, and the way to the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from dure.errors import DureError
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE, HOME
from dure_hub.services.portal import operations_of

router = APIRouter(include_in_schema=False)


@router.get(HOME)
@router.get(BASE)
async def home(
    request: Request,
    person: Annotated[Person, opens_for(USE)],
    ops: Annotated[Operations, Depends(operations_of)],
) -> HTMLResponse:
    """My servers, jobs, endpoints and models. A part that does not answer says so; the others still show."""
    language = language_of(request)
    servers, jobs, endpoints, models = await asyncio.gather(
        _part(ops.environments.list(person), language),
        _part(ops.jobs.list(person), language),
        _part(ops.endpoints.list(person), language),
        _part(ops.models.list(person, metrics=False), language),
    )
    return page(
        request,
        "home.html",
        servers=servers,
        jobs=jobs,
        endpoints=endpoints,
        models=models,
        address=ops.settings.public_url or str(request.base_url).rstrip("/"),
    )


async def _part(asked: Awaitable[Sequence[Any]], language: str) -> dict[str, Any]:
    try:
        return {"found": list(await asked), "error": None}
    except DureError as error:
        return {"found": [], "error": error.to_wire(language)["error"]}

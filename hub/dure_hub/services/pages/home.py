"""The first page: everything of yours, and the way to the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from dure.errors import DureError
from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.operations.money_words import money
from dure_hub.operations.near import Near
from dure_hub.operations.people import USE, Person
from dure_hub.services.about import gaps
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages.rendering import page
from dure_hub.services.pages.words import say
from dure_hub.services.places import BASE, HOME
from dure_hub.services.portal import operations_of

MOST_WARNINGS = 10
MOST_NAMES = 6
_ENDED = ("stopped", "failed")
router = APIRouter(include_in_schema=False)


@router.get(HOME)
@router.get(BASE)
async def home(
    request: Request,
    person: Annotated[Person, opens_for(USE)],
    ops: Annotated[Operations, Depends(operations_of)],
) -> HTMLResponse:
    """My servers, jobs, endpoints and models, and which limit is near. A part that does not answer says so; the
    others still show.
    """
    language = language_of(request)
    servers, jobs, endpoints, models, budgets, quotas = await asyncio.gather(
        _part(ops.environments.list(person), language),
        _part(ops.jobs.list(person), language),
        _part(ops.endpoints.list(person), language),
        _part(ops.models.list(person, metrics=False), language),
        _part(ops.budgets.near(person), language),
        _part(ops.quotas.near(person), language),
    )
    near = sorted(budgets["found"] + quotas["found"], key=lambda one: (-one.percent, one.kind, one.name, one.what))
    return page(
        request,
        "home.html",
        servers=servers,
        receipts=[one for one in servers["found"] if one.phase in _ENDED and not one.told],
        new_id=new_id,
        listed=lambda names: _listed(names, language),
        jobs=jobs,
        endpoints=endpoints,
        models=models,
        near=[_warning(one) for one in near[:MOST_WARNINGS]],
        more=max(len(near) - MOST_WARNINGS, 0),
        address=_address(ops, request),
        gaps=gaps(ops, language),
    )


def _address(ops: Operations, request: Request) -> str:
    """What a program elsewhere takes for DURE_URL: as it is set, else as this browser came here."""
    settings = ops.settings
    return settings.address if settings.public_url else str(request.base_url).rstrip("/") + settings.at("")


def _listed(names: Sequence[str], language: str) -> str:
    """The first of these, and how many more there are."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return say("receipt.more", language, {"names": ", ".join(names[:MOST_NAMES]), "n": len(names) - MOST_NAMES})


def _warning(one: Near) -> dict[str, Any]:
    """The facts of its sentence."""
    used, limit = (money(one.used), money(one.limit)) if one.what == "budget" else (f"{one.used:g}", one.limit)
    facts = {"kind": one.kind, "name": one.name, "used": used, "limit": limit, "percent": one.percent}
    return {"key": f"near.{one.what}", "facts": facts}


async def _part(asked: Awaitable[Sequence[Any]], language: str) -> dict[str, Any]:
    try:
        return {"found": list(await asked), "error": None}
    except DureError as error:
        return {"found": [], "error": error.to_wire(language)["error"]}

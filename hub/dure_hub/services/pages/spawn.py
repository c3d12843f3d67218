"""Choose a profile, and start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from dure.errors import DureError
from dure.wire.environments import EnvironmentRequest
from dure.wire.ids import new_id
from dure.wire.profiles import Profile
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services.errors import invalid
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE
from dure_hub.services.portal import operations_of

router = APIRouter(include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]

_OFFERED_S = (1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600, 3 * 86400, 7 * 86400)
_DIGITS = 12  # Python reads no number of thousands of digits


@router.get(f"{BASE}/spawn")
async def show(
    request: Request,
    person: Visitor,
    ops: Ops,
    name: Annotated[str, Query(max_length=200)] = "default",
    profile: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The form. `name` and `profile` are what a link suggests."""
    return await _form(request, person, ops, {"name": name, "profile": profile})


@router.post(f"{BASE}/spawn")
async def send(request: Request, person: Visitor, ops: Ops) -> Response:
    """Ask for the server and go to its waiting page; a mistake comes back with the form as it was."""
    form = await request.form()
    given = {key: str(form.get(key, "")) for key in ("id", "name", "profile", "lifetime_s")}
    try:
        ask = EnvironmentRequest.model_validate({key: value for key, value in given.items() if value})
        await ops.environments.request(person, ask)
    except ValidationError as error:
        refused: DureError = invalid(error.errors(), language_of(request))
    except DureError as error:
        refused = error
    else:
        return RedirectResponse(f"{BASE}/wait/{ask.name}", status_code=303)
    return await _form(request, person, ops, given, refused)


async def _form(
    request: Request, person: Person, ops: Operations, given: dict[str, str], refused: DureError | None = None
) -> Response:
    # what nodes for notebooks never have room for is nothing to pick here
    profiles = [one for one in await ops.profiles.list(person, "notebook") if one.total or one.name == "cpu"]
    error = refused.to_wire(language_of(request))["error"] if refused else None
    return page(
        request,
        "spawn.html",
        status=refused.status if refused else 200,
        profiles=profiles,
        lifetimes=lifetimes(profiles),
        chosen=_chosen(profiles, given),
        error=error,
        id=new_id(),
    )


def _dearness(profile: Profile) -> tuple[bool, float]:
    return profile.gpu_model is not None, math.inf if profile.rate is None else profile.rate


def lifetimes(profiles: Sequence[Profile]) -> list[int]:
    """The times offered: round ones up to the longest that any profile allows, and every default."""
    longest = max((profile.max_lifetime_s for profile in profiles), default=0)
    defaults = {profile.default_lifetime_s for profile in profiles}
    return sorted({seconds for seconds in _OFFERED_S if seconds <= longest} | defaults)


def _chosen(profiles: Sequence[Profile], given: dict[str, str]) -> dict[str, Any]:
    """What is marked at first: what was given, else the cheapest profile that is free, else the first.

    A profile without a GPU is the cheapest, whatever the rate card knows of it.
    """
    named = [profile for profile in profiles if profile.name == given.get("profile")]
    free = sorted((profile for profile in profiles if profile.free), key=_dearness)
    first = next(iter([*named, *free, *profiles]), None)
    lifetime = given.get("lifetime_s", "")
    readable = lifetime.isascii() and lifetime.isdigit() and len(lifetime) < _DIGITS
    default = first.default_lifetime_s if first else 0
    return {
        "name": given.get("name") or "default",
        "profile": first.name if first else "",
        "lifetime_s": int(lifetime) if readable else default,
    }

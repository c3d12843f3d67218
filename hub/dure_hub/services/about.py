"""What this portal is, and who you are to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from dure.wire.about import About, User
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import JOBS
from dure_hub.services.guard import needs
from dure_hub.services.languages import language_of
from dure_hub.services.portal import operations_of

OLDEST_SDK = "0.1.0"

router = APIRouter(tags=["about"])
public = APIRouter()


@cache
def portal_version() -> str:
    """The version of the installed distribution."""
    return version("dure")


@router.get("/about")
async def about(request: Request, ops: Annotated[Operations, Depends(operations_of)]) -> About:
    """The portal's version, the oldest SDK it serves, and what it cannot do here. Needs no login."""
    return About(
        version=portal_version(),
        oldest_sdk=OLDEST_SDK,
        simulated=bool(ops.settings.simulated_fleet),
        unsupported=gaps(ops, language_of(request)),
    )


@router.get("/me")
async def me(person: Annotated[Person, needs(USE, area=JOBS)]) -> User:
    """The person this request speaks for."""
    return User(
        name=person.name,
        admin=person.admin,
        scopes=sorted(person.scopes),
        teams=sorted(person.teams),
        team=person.team,
        leads=sorted(person.leads),
    )


@public.get("/services/dure/health", include_in_schema=False)
async def health() -> dict[str, str]:
    """Whether this process answers; nothing else."""
    return {"status": "ok"}


def gaps(ops: Operations, language: str) -> dict[str, str]:
    """What no backend here can do, each with its sentence in the reader's language."""
    found: dict[str, str] = {}
    backends: tuple[Any, ...] = (ops.servers, ops.training, ops.serving, ops.executions, ops.inventory)
    for backend in backends:
        declared: Mapping[Any, Mapping[str, str]] = backend.unsupported
        for feature, sentences in declared.items():
            found.setdefault(str(feature), sentences.get(language, sentences["en"]))
    return found

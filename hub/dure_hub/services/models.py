"""Registered models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from dure.wire.base import Ask
from dure.wire.models import ModelVersion, RegisterRequest
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import PathName
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/models", tags=["models"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]


class AliasRequest(Ask):
    """Point an alias at `version`."""

    version: int = Field(ge=1, le=2**31)


@router.get("")
async def list_models(person: Caller, ops: Ops) -> list[ModelVersion]:
    """The latest version of every model."""
    return list(await ops.models.list(person))


@router.post("", status_code=201)
async def register_model(ask: RegisterRequest, person: Caller, ops: Ops) -> ModelVersion:
    """Register what a finished job of yours saved, with its lineage."""
    return await ops.models.register(person, ask)


@router.get("/{name}/versions")
async def list_versions(name: PathName, person: Caller, ops: Ops) -> list[ModelVersion]:
    """Every version of one model."""
    return list(await ops.models.versions(person, name))


@router.put("/{name}/aliases/{alias}")
async def set_alias(name: PathName, alias: PathName, ask: AliasRequest, person: Caller, ops: Ops) -> ModelVersion:
    """Point `champion`, `challenger` or an alias of your own at a version of your model."""
    return await ops.models.set_alias(person, name, alias, ask.version)

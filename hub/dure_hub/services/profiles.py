"""What people can pick."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path

from dure.wire.profiles import Plan, Profile
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/profiles", tags=["profiles"])
Purpose = Literal["notebook", "training", "serving", "schedule"]


@router.get("")
async def list_profiles(
    person: Annotated[Person, needs(USE)],
    ops: Annotated[Operations, Depends(operations_of)],
    purpose: Purpose | None = None,
) -> list[Profile]:
    """Every profile, with what is free of it now; for a purpose, on nodes that are for it. Null is unknown."""
    return list(await ops.profiles.list(person, purpose))


@router.get("/{name}/plan")
async def plan(
    name: Annotated[str, Path(max_length=60)],
    person: Annotated[Person, needs(USE)],
    ops: Annotated[Operations, Depends(operations_of)],
    purpose: Purpose = "training",
) -> Plan:
    """What a request for this profile would hold and cost now, and when it could start. It asks for nothing."""
    return await ops.plans.get(person, name, purpose)

"""What people can pick."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query

from dure.wire.profiles import Offer, Plan, Profile
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import JOBS
from dure_hub.services.fields import TEXT_PATTERN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/profiles", tags=["profiles"])
Charged = Annotated[
    str | None, Query(min_length=1, max_length=100, pattern=TEXT_PATTERN, description="Who would be charged.")
]
Purpose = Literal["notebook", "training", "serving", "schedule"]


@router.get("")
async def list_profiles(
    person: Annotated[Person, needs(USE, area=JOBS)],
    ops: Annotated[Operations, Depends(operations_of)],
    purpose: Purpose | None = None,
) -> list[Profile]:
    """Every profile, with what is free of it now; for a purpose, on nodes that are for it. Null is unknown."""
    return list(await ops.profiles.list(person, purpose))


@router.get("/offers")
async def list_offers(
    person: Annotated[Person, needs(USE, area=JOBS)],
    ops: Annotated[Operations, Depends(operations_of)],
    team: Charged = None,
    project: Charged = None,
    lifetime_s: Annotated[int | None, Query(ge=1, le=30 * 86400, description="For how long.")] = None,
    hours: Annotated[float, Query(ge=0, le=744, description="Hours of use that quotas are reckoned after.")] = 8,
) -> list[Offer]:
    """Every profile as a server of yours would have it now: free, its start, your GPU-hours after some of it."""
    return list(await ops.offers.list(person, team=team, project=project, lifetime_s=lifetime_s, hours=hours))


@router.get("/{name}/plan")
async def plan(
    name: Annotated[str, Path(max_length=60)],
    person: Annotated[Person, needs(USE, area=JOBS)],
    ops: Annotated[Operations, Depends(operations_of)],
    purpose: Purpose = "training",
    team: Charged = None,
    project: Charged = None,
    lifetime_s: Annotated[int | None, Query(ge=1, description="For how long, where a launch may say so.")] = None,
) -> Plan:
    """What a request for this profile would hold and cost now, and when it could start. It asks for nothing.

    It is refused where the launch would be.
    """
    return await ops.plans.get(person, name, purpose, team=team, project=project, lifetime_s=lifetime_s)

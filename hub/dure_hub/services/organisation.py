"""The organisation as one, and its teams."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from dure.wire.organisation import Organisation, OrganisationDiff, OrganisationRequest, Team, TeamRequest
from dure_hub.operations import Operations
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.services.fields import TEXT_PATTERN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(tags=["organisation"])
Ops = Annotated[Operations, Depends(operations_of)]
Administrator = Annotated[Person, needs(ADMIN)]
TeamPath = Annotated[str, Path(min_length=1, max_length=100, pattern=TEXT_PATTERN)]


@router.get("/organisation")
async def get_organisation(person: Administrator, ops: Ops) -> Organisation:
    """Users, teams, quotas, budgets, rates, profiles and how GPUs are given, also as the file that says so."""
    return await ops.organisation.get(person)


@router.put("/organisation")
async def put_organisation(ask: OrganisationRequest, person: Administrator, ops: Ops) -> OrganisationDiff:
    """Bring it to what is sent, all of it or nothing; with `dry_run` only say what that would change."""
    return await ops.organisation.put(person, ask)


@router.get("/teams")
async def list_teams(person: Annotated[Person, needs(USE)], ops: Ops) -> list[Team]:
    """Your teams with their people and projects; for administrators, all."""
    return await ops.organisation.teams(person)


@router.put("/teams/{team}")
async def put_team(team: TeamPath, ask: TeamRequest, person: Administrator, ops: Ops) -> OrganisationDiff:
    """Make one team, or make it as it is sent; all others stay as they are."""
    return await ops.organisation.put_team(person, team, ask)


@router.delete("/teams/{team}")
async def remove_team(team: TeamPath, person: Administrator, ops: Ops) -> OrganisationDiff:
    """Remove one team. What was charged to it stays charged to it."""
    return await ops.organisation.put_team(person, team, None)

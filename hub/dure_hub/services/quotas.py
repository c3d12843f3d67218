"""How much users and teams may use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from dure.wire.money import Quota, QuotaRequest
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/quotas", tags=["money"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]


@router.get("")
async def list_quotas(person: Caller, ops: Ops) -> list[Quota]:
    """Your quota and your teams', with what is used of them; for administrators, every other that is set too."""
    return await ops.quotas.list(person)


@router.put("")
async def set_quota(ask: QuotaRequest, person: Caller, ops: Ops) -> Quota | None:
    """Set all limits of one user or team, or take them away where none is named; for administrators."""
    return await ops.quotas.put(person, ask)

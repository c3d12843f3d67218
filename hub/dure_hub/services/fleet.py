"""The machines, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from dure.wire.fleet import Fleet
from dure_hub.operations import Operations
from dure_hub.operations.people import ADMIN, Person
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/fleet", tags=["fleet"])


@router.get("")
async def look_at_fleet(
    person: Annotated[Person, needs(ADMIN)], ops: Annotated[Operations, Depends(operations_of)]
) -> Fleet:
    """Devices, processors and memory with who holds and uses how much of them. Null is unknown, never zero."""
    return await ops.fleet.look(person)

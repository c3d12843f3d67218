"""What teams and projects may spend a month."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from dure.wire.money import Budget, BudgetRequest
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/budgets", tags=["money"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]


@router.get("")
async def list_budgets(person: Caller, ops: Ops) -> list[Budget]:
    """Budgets of your teams and projects with what is spent of them; for administrators, all."""
    return await ops.budgets.list(person)


@router.put("")
async def set_budget(ask: BudgetRequest, person: Caller, ops: Ops) -> Budget | None:
    """Set one, or take it away where `amount` is null; for administrators. Sending it again changes nothing."""
    return await ops.budgets.put(person, ask)

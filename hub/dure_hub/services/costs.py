"""What things cost, will cost, and could have cost."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from dure.wire.money import Costs, Forecast, Recommendation
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.cost import By
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import TEXT_PATTERN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(tags=["money"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]
Zone = Annotated[str, Query(max_length=60, pattern=TEXT_PATTERN, description="Whose days and months: Asia/Seoul.")]
From = Annotated[
    datetime | None, Query(alias="from", description="From when, with its zone; the month's first day.")
]
To = Annotated[datetime | None, Query(alias="to", description="To before when, with its zone; now.")]
Group = Annotated[
    str | None, Query(min_length=1, max_length=255, pattern=TEXT_PATTERN, description="Of this one only.")
]
Lines = Annotated[int, Query(ge=1, le=1000, description="At most so many lines; the rest is summed.")]


@router.get("/costs")
async def list_costs(
    person: Caller,
    ops: Ops,
    start: From = None,
    end: To = None,
    by: By = "user",
    zone: Zone = "UTC",
    limit: Lines = 200,
) -> Costs:
    """Costs of your leases and your teams' in a window, by group; of everybody's for administrators."""
    return await ops.ledger.costs(person, start=start, end=end, by=by, zone=zone, limit=limit)


@router.get("/forecast")
async def get_forecast(person: Caller, ops: Ops, team: Group = None, project: Group = None) -> Forecast:
    """What this month will have cost at its end, and how sure that is; of one team or project where named."""
    return await ops.outlook.forecast(person, team=team, project=project)


@router.get("/recommendations")
async def list_recommendations(person: Caller, ops: Ops) -> list[Recommendation]:
    """How GPUs held in the last 30 days could have cost less, with the arithmetic; the largest saving first."""
    return await ops.outlook.recommendations(person)

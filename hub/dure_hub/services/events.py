"""The audit: who did what, when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from dure.wire.events import Event
from dure.wire.ids import ULID_PATTERN
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/events", tags=["events"])


@router.get("")
async def list_events(
    person: Annotated[Person, needs(USE)],
    ops: Annotated[Operations, Depends(operations_of)],
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[str | None, Query(pattern=ULID_PATTERN)] = None,
    thing: Annotated[str | None, Query(alias="object", max_length=255)] = None,
) -> list[Event]:
    """The newest first, for administrators; for leads those of what is charged to their teams. `before` is the id
    of the last one already read."""
    return await ops.events.list(person, limit=limit, before=before, thing=thing)

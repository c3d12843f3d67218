"""The audit: who did what, when."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, AwareDatetime

from dure.wire.events import Event
from dure.wire.ids import ULID_PATTERN
from dure_hub.operations import Operations
from dure_hub.operations.events import Wanted
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.services.fields import TEXT_PATTERN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

COLUMNS = ("seq", "at", "actor", "on_behalf_of", "verb", "object", "verdict", "id")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}

router = APIRouter(prefix="/events", tags=["events"])
Administrator = Annotated[Person, needs(ADMIN)]
Ops = Annotated[Operations, Depends(operations_of)]


def _in_reach(value: datetime) -> datetime:
    """A time that every database can hold, whatever its zone."""
    if not 1970 <= value.year < 9999:
        raise ValueError("a year from 1970 to 9998")
    return value


Time = Annotated[AwareDatetime, AfterValidator(_in_reach)]
Word = Annotated[str | None, Query(max_length=255, pattern=TEXT_PATTERN)]


@router.get("")
async def list_events(
    person: Annotated[Person, needs(USE)],
    ops: Ops,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[str | None, Query(pattern=ULID_PATTERN)] = None,
    thing: Annotated[str | None, Query(alias="object", max_length=255, pattern=TEXT_PATTERN)] = None,
) -> list[Event]:
    """The newest first, for administrators; for leads those of what is charged to their teams. `before` is the id
    of the last one already read."""
    return await ops.events.list(person, limit=limit, before=before, thing=thing)


@router.get("/export", response_class=StreamingResponse)
async def export_events(
    person: Administrator,
    ops: Ops,
    since: Annotated[Time | None, Query(description="From this time on.")] = None,
    until: Annotated[Time | None, Query(description="Before this time.")] = None,
    actor: Word = None,
    verb: Word = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="The `seq` of the last one already read.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    form: Annotated[Literal["jsonl", "csv"], Query(alias="format")] = "jsonl",
) -> StreamingResponse:
    """All of them, the oldest first, as JSON lines or CSV; for administrators.

    `after` goes on where an export ended: nothing is ever written before what was read. In CSV, a text that a
    spreadsheet would calculate has an apostrophe before it.
    """
    wanted = Wanted(since, until, actor, verb, after, limit)
    pages = await ops.events.export(person, wanted)
    return StreamingResponse((jsonl if form == "jsonl" else csv_text)(pages), media_type=_TYPES[form])


async def jsonl(pages: AsyncIterator[Sequence[Event]]) -> AsyncIterator[str]:
    """One event a line."""
    async for page in pages:
        yield "".join(event.model_dump_json() + "\n" for event in page)


async def csv_text(pages: AsyncIterator[Sequence[Event]]) -> AsyncIterator[str]:
    """A row of names, then one event a row; the verdict is JSON."""
    yield ",".join(COLUMNS) + "\r\n"
    async for page in pages:
        out = io.StringIO()
        csv.writer(out).writerows([_cell(getattr(event, name)) for name in COLUMNS] for event in page)
        yield out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

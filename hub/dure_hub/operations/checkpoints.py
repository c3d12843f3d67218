"""Saving what is open in a server at any time, as before its end; nothing ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from dure import wire
from dure_hub.backends.base import Handle, Kind, ServerBackend, hook_s
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.before_stop import facts_of, receipt_of
from dure_hub.operations.errors import NothingToSave, SaidNothing
from dure_hub.operations.people import Person
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import record

CHECKPOINT = "checkpoint"
_LEAST_S = 60.0
"""Nothing waits for a stop here, so short settings for that do not hurry it."""


async def checkpoint(
    settings: Settings,
    store: Store,
    clock: Clock,
    servers: ServerBackend,
    person: Person,
    name: str,
    owner: str | None = None,
) -> wire.Receipt:
    """Have the pages of a running server save and its owner's program run; what came of it.

    Of `owner`, for administrators. Raises `NothingToSave` where it does not run, `SaidNothing` where it does not
    answer in `before_stop_s` (a minute at least): what it saved is unknown then.
    """
    whose = owner or person.name
    person.may_act_for(whose)

    def read(session: Session) -> Handle:
        row = rows.existing(session, whose, name)
        lease = rows.active_lease(session, row)
        if lease is None or row.phase != rows.RUNNING:
            raise NothingToSave(name=name, phase=row.phase)
        return Handle(lease.id, Kind.SERVER, lease.handle)

    handle = await store.read(read)
    limit_s = max(settings.before_stop_s, _LEAST_S)
    answer: Mapping[str, Any] | None = None
    try:
        async with asyncio.timeout(limit_s):
            answer = await servers.before_stop(handle, CHECKPOINT, "", hook_s(limit_s))
    except TimeoutError:
        pass  # said below, together with a server that gave no answer
    if answer is None:
        raise SaidNothing(name=name, seconds=round(limit_s))
    kept = receipt_of(answer)

    def write(session: Session) -> None:
        verdict = {"code": CHECKPOINT, "facts": facts_of(kept)}
        behalf = None if whose == person.name else whose
        thing = rows.thing_of(whose, name)
        record(session, clock(), person.name, "environment.checkpoint", thing, verdict, behalf)

    await store.run(write)
    return wire.Receipt.model_validate(kept)

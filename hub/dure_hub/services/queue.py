"""Who waits, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from dure.errors import LANGUAGES
from dure.wire.queue import QueueEntry
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.guard import needs
from dure_hub.services.pages import words
from dure_hub.services.portal import operations_of
from dure_hub.services.why import sentence_of

router = APIRouter(prefix="/queue", tags=["queue"])
_QUOTA = ("verdict.quota", "verdict.cluster_queue", "verdict.cluster_quota")
_NODE = ("verdict.cluster_no_node", "verdict.home_bound")


@router.get("")
async def list_queue(
    person: Annotated[Person, needs(USE, area=SEEN)], ops: Annotated[Operations, Depends(operations_of)]
) -> list[QueueEntry]:
    """Every request that waits, in the order in which they are served, with its start at the latest and why."""
    return [
        entry.model_copy(update={"why": why(entry, told=entry.owner is not None)})
        for entry in await ops.queues.list(person)
    ]


def why(entry: QueueEntry, *, told: bool = True) -> dict[str, str] | None:
    """What it waits for; none for a code this version has no words for. Whose quota it is, is not told to all."""
    key = sentence_of(entry.code, entry.facts)
    if key.startswith(_QUOTA) and not told:
        key = "verdict.some_quota"
    if key.startswith(_NODE) and not told:
        key = "verdict.some_node"
    if not words.has(key):
        return None
    facts = {"profile": entry.profile, **entry.facts}
    return {language: words.say(key, language, facts) for language in LANGUAGES}

"""Who waits for GPUs, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dure.wire.base import Answer


class QueueEntry(Answer):
    """One request that waits, in the order in which they are served.

    `position` counts from 1 among those for the same profile; null where it keeps no place (it waits for a budget,
    or for a GPU that is away). `expected_start` is at the latest, null if unknown. `why` says in each language
    what it waits for. `owner` is told to administrators and to the owner; `next_best` to the owner.
    """

    ticket: str
    mine: bool
    owner: str | None = None
    team: str | None = None
    queue_class: str
    purpose: str
    profile: str
    position: int | None = None
    expected_start: datetime | None = None
    asked_at: datetime
    code: str | None = None
    facts: dict[str, Any] = {}
    why: dict[str, str] | None = None
    next_best: str | None = None

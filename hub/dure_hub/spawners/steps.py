"""How far a start is, for the hub's progress stream: codes that the portal has sentences for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from dure.errors import DureError, fill
from dure_hub.operations import reasons
from dure_hub.operations.progress import STEPS
from dure_hub.spawners.waiting import ServerEnded, ServerSilent

PERCENT = {"placed": 20, "folder": 30, "held_back": 40, "process": 50, "answers": 90}
PERCENT |= {"no_node": 40, "on_node": 43, "image": 46, "in_trouble": 46}
MOST = 20
"""Steps of one kind that are told of a start: what holds it back may be said anew again and again."""
LOG_BYTES = 4096
"""So much of the end of a log its owner is shown where a server did not start."""


class Steps:
    """The steps of one start. Whoever follows gets all of them, however late they come."""

    def __init__(self) -> None:
        self._done: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def add(self, code: str, why: str = "") -> None:
        """The start has come to this, because of `why`; said again it is nothing new."""
        if (code, why) not in self._done and sum(one == code for one, _ in self._done) < MOST:
            self._done.append((code, why))
            self._changed.set()
            self._changed = asyncio.Event()

    async def follow(self, language: str) -> AsyncIterator[dict[str, Any]]:
        """As the hub's `Spawner.progress`. It ends when the hub cancels it, which it does with the start."""
        told = 0
        while True:
            changed = self._changed
            for code, why in self._done[told:]:
                said = fill(STEPS[code], language, {"why": why})
                yield {"progress": PERCENT[code], "message": said, "code": code, "why": why}
            told = len(self._done)
            if not changed.is_set():
                await changed.wait()


def why(error: DureError, language: str) -> str:
    """Why a start failed, as its row keeps it: a code where there is one, so that it is said in any language."""
    if isinstance(error, ServerEnded):
        return reasons.ended_early(error.facts.get("exit_code"))
    if isinstance(error, ServerSilent):
        return reasons.silent_for(int(error.facts["seconds"]))
    return error.text(language)

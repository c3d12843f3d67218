"""What is done before a server ends: every open page saves its documents, output that no page has seen is written
into its notebooks, then a program of the owner's runs.

Pages are asked by an event of Jupyter's own bus, to which each of them holds a socket, and answer by a request. A
page that is frozen or cut off does not answer; the others are not kept waiting for it longer than `PAGES_S`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from jupyter_events import EventLogger
from jupyter_server.services.events.handlers import SubscribeWebsocket

from dure.wire.ids import new_id
from dure_lab import hook
from dure_lab.unwatched import Unwatched

EVENT = "https://dure/events/ending"
SCHEMA: dict[str, Any] = {
    "$id": EVENT,
    "version": "1",
    "title": "The server is about to end",
    "personal-data": False,
    "description": "Each page saves its changed documents and says so, by `id`, to `dure/saved`.",
    "type": "object",
    "required": ["id", "reason", "ends_at"],
    "properties": {
        "id": {"type": "string"},
        "reason": {"type": "string", "description": "Why it ends; `checkpoint` where it does not."},
        "ends_at": {"type": "string", "description": "When, in ISO 8601; empty where it does not."},
    },
}
CHECKPOINT = "checkpoint"
PAGES_S = 10.0


@dataclass
class _Round:
    """One time that pages were asked, and what each of them has answered."""

    asked: int
    answers: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class Ending:
    """Asks pages and runs the hook. One object a server."""

    def __init__(
        self,
        events: EventLogger,
        log: logging.Logger,
        pages_s: float = PAGES_S,
        unwatched: Unwatched | None = None,
    ) -> None:
        self._events, self._log, self._pages_s, self._unwatched = events, log, pages_s, unwatched
        self._rounds: dict[str, _Round] = {}
        self._one_at_a_time = asyncio.Lock()

    async def run(self, reason: str, ends_at: str, hook_s: float) -> dict[str, Any]:
        """Let pages save, then run the owner's program for at most `hook_s` seconds. Nothing of it raises.

        `pages` were asked, `silent` of them did not answer; `hook` is null where there is no program.
        """
        asked = await self._pages(reason, ends_at)
        unwatched = await self._write(reason)
        ran = await self._hook(reason, ends_at, hook_s)
        saved = sorted({path for paths, _ in asked.answers.values() for path in paths} | unwatched)
        failed = sorted({path for _, paths in asked.answers.values() for path in paths})
        silent = max(asked.asked - len(asked.answers), 0)
        self._log.info("dure: %s: %s saved, %s failed, %s silent", reason, len(saved), len(failed), silent)
        return {"saved": saved, "failed": failed, "pages": asked.asked, "silent": silent, "hook": ran}

    async def _write(self, reason: str) -> set[str]:
        """Notebooks into which output was written that no page has seen, also of what has not come to its end."""
        if self._unwatched is None:
            return set()
        try:
            return set(await self._unwatched.write(unfinished=True, lost=reason != CHECKPOINT))
        except Exception:  # noqa: BLE001 - whatever it is, the server ends, and the owner's program runs
            self._log.exception("dure: output that no page has seen was not written")
            return set()

    async def _hook(self, reason: str, ends_at: str, seconds: float) -> dict[str, Any] | None:
        """The owner's program, once at a time; pages never wait for it. Waiting for the last one counts."""
        begun = time.monotonic()
        try:
            await asyncio.wait_for(self._one_at_a_time.acquire(), seconds)
        except TimeoutError:
            self._log.warning("dure: %s: the program before it is still at work", reason)
            return None
        try:
            return await hook.run(reason, ends_at, max(seconds - (time.monotonic() - begun), 0.0), self._log)
        finally:
            self._one_at_a_time.release()

    def answered(self, number: str, page: str, saved: list[str], failed: list[str]) -> bool:
        """What one page has saved; False where nobody waits for it any more."""
        asked = self._rounds.get(number)
        if asked is None:
            return False
        asked.answers[page] = saved, failed
        if len(asked.answers) >= asked.asked:
            asked.complete.set()
        return True

    async def _pages(self, reason: str, ends_at: str) -> _Round:
        number, asked = new_id(), _Round(self._listening())
        if not asked.asked:
            return asked
        self._rounds[number] = asked
        try:
            self._events.emit(schema_id=EVENT, data={"id": number, "reason": reason, "ends_at": ends_at})
            await asyncio.wait_for(asked.complete.wait(), self._pages_s)
        except TimeoutError:
            self._log.warning("dure: of %s pages only %s have answered", asked.asked, len(asked.answers))
        finally:
            del self._rounds[number]
        return asked

    def _listening(self) -> int:
        """How many pages hold a socket. The bus has no public way to tell who listens."""
        listeners = self._events._modified_listeners.get(EVENT, ())
        holders = [getattr(listener, "__self__", None) for listener in listeners]
        return sum(isinstance(one, SubscribeWebsocket) and one.ws_connection is not None for one in holders)

"""Events of what changes nothing: logins, and what was refused. Anybody may cause them, so they are counted.

Of each minute, each kind and each name the first few are written one by one, and the rest as one event with
their number when the minute is over. The names are bounded too: beyond them all count as one. So what somebody who
guesses passwords all day leaves has a bound, and none of it takes the place of what was told before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from dure.errors import NotReady
from dure_hub.store import Clock, Store
from dure_hub.store.events import record

WINDOW_S = 60.0
DETAILED = 5
NAMES = 20
OTHERS = "(others)"
UNKNOWN = "(unknown)"
"""Who did it where nobody has shown who they are; no person's name has brackets."""

log = logging.getLogger(__name__)


@dataclass
class _Counted:
    count: int
    last: tuple[str, str, Mapping[str, Any]]
    timer: asyncio.TimerHandle


class Audit:
    """Writes them, one for each process. A killed one loses at most how often the last minute's were repeated."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._counted: dict[tuple[str, str], _Counted] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def note(
        self,
        actor: str,
        verb: str,
        thing: str,
        verdict: Mapping[str, Any],
        *,
        name: str | None = None,
        on_behalf_of: str | None = None,
    ) -> None:
        """Write that this happened, or count it under `name` (without one, the actor's).

        A store that is away does not undo what has happened: that is then told by the log alone.
        """
        if self._count(actor, verb, thing, verdict, name or actor):
            await self._write(actor, verb, thing, verdict, on_behalf_of)

    def note_soon(
        self, actor: str, verb: str, thing: str, verdict: Mapping[str, Any], *, name: str | None = None
    ) -> None:
        """The same without waiting for the store; `close` waits."""
        if self._count(actor, verb, thing, verdict, name or actor):
            self._begin(self._write(actor, verb, thing, verdict, None))

    async def close(self) -> None:
        """Write what was only counted until now."""
        for key in list(self._counted):
            self._over(key)
        while self._writing:
            await asyncio.gather(*self._writing)

    def _count(self, actor: str, verb: str, thing: str, verdict: Mapping[str, Any], name: str) -> bool:
        """Whether this one is written by itself."""
        key = self._key(verb, name)
        found = self._counted.get(key)
        if found is None:
            timer = asyncio.get_running_loop().call_later(WINDOW_S, self._over, key)
            found = self._counted[key] = _Counted(0, (actor, thing, verdict), timer)
        found.count += 1
        found.last = (actor, thing, verdict)
        return found.count <= DETAILED

    def _key(self, verb: str, name: str) -> tuple[str, str]:
        if (verb, name) in self._counted or sum(kind == verb for kind, _ in self._counted) < NAMES:
            return verb, name
        return verb, OTHERS

    def _over(self, key: tuple[str, str]) -> None:
        found = self._counted.pop(key)
        found.timer.cancel()
        if found.count <= DETAILED:
            return
        (verb, name), (actor, thing, verdict) = key, found.last
        facts = {"more": found.count - DETAILED, "within_s": round(WINDOW_S)}
        if name == OTHERS:
            actor, thing, verdict = UNKNOWN, OTHERS, {}
        told = {"code": "repeated", "facts": facts | ({"last": verdict["code"]} if "code" in verdict else {})}
        self._begin(self._write(actor, verb, thing, told, None))

    def _begin(self, writing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(
        self, actor: str, verb: str, thing: str, verdict: Mapping[str, Any], behalf: str | None
    ) -> None:
        try:
            await self._store.run(
                lambda session: record(session, self._clock, actor, verb, thing, verdict, behalf)
            )
        except NotReady as error:
            log.warning("not recorded: %s %s %s: %s", actor, verb, thing, error)

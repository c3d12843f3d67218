"""Work that takes longer than a tick may: at most one task a key, and every error in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Runs tasks by key. What they do must be safe to begin again: a crash of the portal ends them anywhere.

    A task answers whether it got on; then `done` is called, to look again at once. One that did not is begun
    again by the next regular pass, no sooner.
    """

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._tasks: dict[str, asyncio.Task[bool]] = {}

    def run(self, key: str, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Begin `work` unless something of this key runs already."""
        if key in self._tasks:
            return
        task = asyncio.create_task(work(), name=key)
        self._tasks[key] = task
        task.add_done_callback(lambda ended: self._ended(key, ended))

    def busy(self, key: str) -> bool:
        """Whether something of this key runs."""
        return key in self._tasks

    async def still_busy(self, key: str, seconds: float) -> bool:
        """The same, after waiting at most so long for its end."""
        if task := self._tasks.get(key):
            await asyncio.wait({task}, timeout=seconds)
        return self.busy(key)

    async def close(self) -> None:
        """Cancel everything and wait for it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str, task: asyncio.Task[bool]) -> None:
        del self._tasks[key]
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("%s failed; tried again in the next pass", key, exc_info=task.exception())
        elif task.result():
            self._done()

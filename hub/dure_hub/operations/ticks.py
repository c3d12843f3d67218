"""Periodic work of the portal service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


@dataclass
class _Tick:
    name: str
    interval_s: float
    work: Work
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Ticks:
    """A registry of periodic work: each runs alone with itself, and what one raises is logged and kills none."""

    def __init__(self) -> None:
        self._ticks: dict[str, _Tick] = {}
        self._running = False

    def add(self, name: str, interval_s: float, work: Work) -> None:
        """Run `work` every `interval_s` seconds, counted from its end, from the start on."""
        if name in self._ticks:
            raise ValueError(f"there is a tick named {name}")
        self._ticks[name] = _Tick(name, interval_s, work)
        if self._running:
            self._begin(self._ticks[name])

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._running = True
        for tick in self._ticks.values():
            self._begin(tick)

    async def stop(self) -> None:
        """End all; work in progress is cancelled."""
        self._running = False
        tasks = [tick.task for tick in self._ticks.values() if tick.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def kick(self, name: str | None = None) -> None:
        """Run one tick, or all, as soon as possible instead of when it is next due."""
        for tick in self._ticks.values():
            if name in (None, tick.name):
                tick.due.set()

    def _begin(self, tick: _Tick) -> None:
        if tick.task is None or tick.task.done():
            tick.task = asyncio.create_task(self._loop(tick), name=f"tick {tick.name}")

    async def _loop(self, tick: _Tick) -> None:
        while True:
            tick.due.clear()
            try:
                await tick.work()
            except Exception:
                log.exception("tick %s failed; it runs again in %s s", tick.name, tick.interval_s)
            try:
                await asyncio.wait_for(tick.due.wait(), tick.interval_s)
            except TimeoutError:
                continue

"""Keeps one service alive: adopts or starts it, restarts it with backoff, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import time
from asyncio.subprocess import DEVNULL, STDOUT
from asyncio.subprocess import Process as Child
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from dure_hub.settings import DataFolder, Settings
from dure_hub.supervisor import processes
from dure_hub.supervisor.care import EARLY_EXITS, Care, End
from dure_hub.supervisor.errors import ServiceFailed
from dure_hub.supervisor.logs import tail
from dure_hub.supervisor.processes import Process, Record
from dure_hub.supervisor.spec import Service

LOOK_S = 0.1
"""Time between two looks whether a service that starts answers."""


def record_path(folder: DataFolder, name: str) -> Path:
    """Where the record of a service lies."""
    return folder.run / "services" / f"{name}.json"


def care_path(folder: DataFolder, name: str) -> Path:
    """Where lies how often it ended, and why."""
    return record_path(folder, name).with_suffix(".care.json")


def log_path(folder: DataFolder, name: str) -> Path:
    """Where a service writes its log."""
    return folder.log / f"{name}.log"


async def end_leftovers(settings: Settings, name: str, grace_s: float) -> None:
    """End what an earlier supervisor left of this service: the recorded process, and what carries its mark."""
    record = processes.load_record(record_path(settings.folder, name))
    if record is not None:
        await processes.end([record.process], grace_s)
    # The mark finds one whose supervisor died between its start and its record, and children that stayed behind.
    await processes.end(marked(settings, name), grace_s, group=False)
    record_path(settings.folder, name).unlink(missing_ok=True)


def marked(settings: Settings, name: str) -> list[Process]:
    """Whatever carries the mark of this service, recorded or not."""
    return processes.marked(
        settings.instance, lambda found: found.get("DURE_SERVICE") == name and "DURE_LEASE" not in found
    )


class Keeper:
    """One service under care. `note` writes a line into the supervisor's log."""

    def __init__(self, settings: Settings, service: Service, note: Callable[[str], None]) -> None:
        self.settings = settings
        self.service = service
        self.note = note
        self.process: Process | None = None
        self.adopted = False
        self.care = Care()
        self._child: Child | None = None
        self._answered = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def exits(self) -> int:
        """How often it has ended since it was begun."""
        return self.care.ends

    async def begin(self) -> None:
        """Adopt the running service if it is the same, else replace it; then keep it until `stop`.

        Raises `OSError` where one that the portal needs cannot be started; any other is tried again.
        """
        self._note_care(Care())
        record = processes.load_record(record_path(self.settings.folder, self.service.name))
        if (
            self.service.keep
            and record is not None
            and record.process.alive()
            and record.fingerprint == self.service.fingerprint
            and await self.service.ready()
        ):
            self.process, self.adopted = record.process, True
            self._answered.set()
            self.note(f"{self.service.name}: adopted process {record.process.pid}")
        else:
            await end_leftovers(self.settings, self.service.name, self.service.stop_grace_s)
            try:
                await self._launch()
            except OSError as why:
                if self.service.essential:
                    raise
                self.note(f"{self.service.name}: cannot start: {why}")
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.service.name}")

    async def until_ready(self) -> None:
        """Wait until it answers; `ServiceFailed` with the end of its log when it does not in its time."""
        deadline = asyncio.get_running_loop().time() + self.service.start_limit_s
        while not self._answered.is_set():
            if self.exits >= EARLY_EXITS:
                raise self._failed(f"it ended {self.exits} times")
            if asyncio.get_running_loop().time() > deadline:
                raise self._failed(f"not ready within {self.service.start_limit_s:.0f} s")
            await asyncio.sleep(LOOK_S)

    async def stop(self, grace_s: float | None = None) -> list[Process]:
        """End it and do not start it again. Returns what lives on in spite of it.

        One that is cancelled can be asked for again.
        """
        await self.release()
        grace = self.service.stop_grace_s if grace_s is None else grace_s
        left = [] if self.process is None else await processes.end([self.process], grace)
        if self._child is not None and not left:
            await self._child.wait()
        await end_leftovers(self.settings, self.service.name, grace)
        care_path(self.settings.folder, self.service.name).unlink(missing_ok=True)
        return left

    async def release(self) -> None:
        """Look after it no more, and let it run."""
        self._closing.set()
        if self._task is None:
            return
        await asyncio.wait({self._task})  # waiting so, a cancel ends the waiting and not the task
        if not self._task.cancelled() and (bug := self._task.exception()) is not None:
            self.note(f"{self.service.name}: was no longer kept: {bug!r}")

    async def _launch(self) -> None:
        log = log_path(self.settings.folder, self.service.name)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._child = await asyncio.create_subprocess_exec(
                *self.service.command,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                env=dict(self.service.environment),
                cwd=self.settings.folder.run,
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(output)
        self.process = processes.identify(self._child.pid)
        self.note(f"{self.service.name}: started process {self._child.pid}")
        if self.process is None:
            return  # it has ended already, and `_keep` learns why
        try:
            record = Record(self.process, self.service.fingerprint, time.time())
            record.save(record_path(self.settings.folder, self.service.name))
        except OSError as why:  # a full disk: the service goes on, and its mark is enough to find it
            self.note(f"{self.service.name}: cannot record process {self._child.pid}: {why}")

    async def _keep(self) -> None:
        while not await self._closed_before(self._lived()):
            care = self.care
            assert care.last is not None and care.next_at is not None  # noqa: S101, PT018 - `_lived` tells of an end
            how = care.last.signal or care.last.code
            delay = care.next_at - care.last.at
            self.note(f"{self.service.name}: ended with {how}; starts again in {delay:.1f} s")
            if await self._closed_before(asyncio.sleep(delay)):
                return
            try:
                await processes.end(marked(self.settings, self.service.name), 1, group=False)
                await self._launch()
            except OSError as why:  # no memory, no file descriptors: later there may be
                self._child, self.process = None, None
                self.note(f"{self.service.name}: cannot start: {why}")
            self.adopted = False
            self._note_care(self.care.started())

    async def _lived(self) -> None:
        """One life of the process: note when it answers, and how it ended."""
        began = time.monotonic()
        looking = asyncio.create_task(self._until_answer())
        try:
            await self._gone()
        finally:
            looking.cancel()
            (bug,) = await asyncio.gather(looking, return_exceptions=True)
            if isinstance(bug, Exception):
                self.note(f"{self.service.name}: cannot tell whether it answers: {bug!r}")
        code = None if self._child is None else self._child.returncode
        end = End(code, time.time(), time.monotonic() - began)
        self._note_care(self.care.ended(end, self._answered.is_set(), random.random()))  # noqa: S311 - no secret
        self._answered.clear()

    async def _until_answer(self) -> None:
        while not self._answered.is_set():
            if await self.service.ready():
                self._answered.set()
                if self.care.unanswered:
                    self._note_care(self.care.answers())
                return
            await asyncio.sleep(LOOK_S)

    def _note_care(self, care: Care) -> None:
        self.care = care
        try:
            care.save(care_path(self.settings.folder, self.service.name))
        except OSError as why:  # a full disk: what counts is that it is started again
            self.note(f"{self.service.name}: cannot write down how it ended: {why}")

    async def _gone(self) -> None:
        if self._child is not None:
            await self._child.wait()
        elif self.process is not None:
            await processes.until_gone([self.process], math.inf, poll_s=0.2)

    async def _closed_before(self, other: Coroutine[Any, Any, None]) -> bool:
        """Whether `stop` was called before `other` was over."""
        waiting, closing = asyncio.create_task(other), asyncio.create_task(self._closing.wait())
        await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
        tasks: tuple[asyncio.Task[Any], ...] = (waiting, closing)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return self._closing.is_set()

    def _failed(self, reason: str) -> ServiceFailed:
        log = log_path(self.settings.folder, self.service.name)
        return ServiceFailed(service=self.service.name, reason=reason, log=str(log), tail=tail(log))

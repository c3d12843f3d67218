"""Output that nobody watches: collected while its page is gone, for the page that comes next or for the file.

Kernels are listened to by a socket of our own beside those of pages. The file is written only while no page is
connected to the kernel, for any that is has the notebook in its memory, and a while later: a reloaded page is back
by then. What could not be written is kept for another try.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.session import Session
from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp

from dure_lab import notebook_file
from dure_lab.executions import Execution, OfKernel

GRACE_S = 5.0
_WRITE_S = 10.0
"""A page that takes over waits at most so long for a file that is being written."""
_SILENCE_S = 2.0
"""A socket to a kernel that says nothing for so long hears what it says next."""
_TRIES = 30
"""So often it is tried to write what a kernel has left that has ended."""


@dataclass
class _Kernel:
    """One that a page was ever connected to."""

    id: str
    manager: Any
    executions: OfKernel
    reader: Session
    stream: Any = None
    ports: list[int] = field(default_factory=list)
    died: Callable[[], None] = lambda: None
    hearing: dict[str, asyncio.Event] = field(default_factory=dict)
    """Whether each page that is connected has heard anything of it yet."""
    paths: list[str] = field(default_factory=list)
    """Its notebooks, as they were called last."""
    tries: int = 0
    said: str = ""
    """Why it could not be written last."""


class Unwatched:
    """Of all kernels of this server."""

    def __init__(self, server_app: ServerApp) -> None:
        self._server: Any = server_app
        self._language = "ko" if os.environ.get("DURE_LANGUAGE") == "ko" else "en"
        self._kernels: dict[str, _Kernel] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._waiting: set[str] = set()
        self._written_at: dict[str, str] = {}

    def connected(self, kernel_id: str, session: str, replayed: bool) -> None:
        """A page connects to a kernel, and may ask for something as soon as it is (see `OfKernel.connected`)."""
        kernel = self._kernels.get(kernel_id)
        if kernel is None:
            kernel = self._kernels[kernel_id] = self._follow(kernel_id)
        elif kernel.ports != kernel.manager.ports:  # one that dies young is started anew elsewhere
            self._listen(kernel)
        kernel.executions.connected(session, replayed)
        kernel.hearing[session] = asyncio.Event()
        self._run(self._find_paths())

    def disconnected(self, kernel_id: str, session: str, left: bool) -> None:
        """A page has gone; `left`: it has closed its socket itself, as it also does when its kernel has ended."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None:
            kernel.hearing.pop(session, None)
            kernel.executions.disconnected(session, left, kernel_ended=self._has_ended(kernel))
            self._settle(kernel)

    def heard(self, kernel_id: str, session: str) -> None:
        """A page's socket has brought it something of the kernel's: it brings all from now on."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None and session in kernel.hearing:
            kernel.hearing[session].set()

    def asked(self, kernel_id: str, session: str, asked: str, cell: str, code: str) -> None:
        """A page has a cell executed."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None:
            kernel.executions.ask(asked, session, cell, code)

    async def hand_over(self, kernel_id: str, session: str, cells: Mapping[str, str | None]) -> dict[str, Any]:
        """What gone pages have asked for in these cells, for a page that goes on with it.

        `written_at` is when the file was last written here: a page that has read it before reads it again.
        """
        kernel = self._kernels.get(kernel_id)
        if kernel is None:
            return {"executions": [], "written_at": None}
        try:
            async with asyncio.timeout(_WRITE_S), self._one_at_a_time:
                await self._find_paths()
        except TimeoutError:
            self._server.log.warning("dure: a page goes on while a notebook is still being written")
        await self._until_heard(kernel, session)
        found = kernel.executions.hand_over(session, cells)
        times = [self._written_at[path] for path in kernel.paths if path in self._written_at]
        return {"executions": [one.on_wire() for one in found], "written_at": max(times, default=None)}

    async def _until_heard(self, kernel: _Kernel, session: str) -> None:
        """A page has its socket before the kernel knows of it: what is said between the two is lost to it."""
        if session in kernel.hearing and not kernel.executions.is_empty:
            with contextlib.suppress(TimeoutError):  # nothing was said, so nothing was lost
                async with asyncio.timeout(_SILENCE_S):
                    await kernel.hearing[session].wait()

    async def write(self, unfinished: bool = False, lost: bool = False) -> list[str]:
        """Write what belongs into files now (see `OfKernel.to_write`); the notebooks that were written."""
        return [
            path for kernel in list(self._kernels.values()) for path in await self._write(kernel, unfinished, lost)
        ]

    async def sweep(self) -> None:
        """Try again what was not written. Kernels that have ended are listened to no more.

        Of these also what a page asked for whose line broke before: there is no other way for it to get that.
        """
        for kernel in list(self._kernels.values()):
            if not self._has_ended(kernel):
                self._settle(kernel)
                continue
            kernel.executions.cut_off()
            await self._write(kernel, unfinished=True, lost=True)
            kernel.tries += 1
            kept = kernel.tries < _TRIES and kernel.executions.to_write(unfinished=True, lost=True)
            if not kept and not kernel.executions.is_watched:
                self._kernels.pop(kernel.id, None)
                self._leave(kernel)

    def _has_ended(self, kernel: _Kernel) -> bool:
        return kernel.id not in self._server.kernel_manager

    def _follow(self, kernel_id: str) -> _Kernel:
        manager = self._server.kernel_manager.get_kernel(kernel_id)
        reader = Session(config=manager.session.config, key=manager.session.key)
        kernel = _Kernel(kernel_id, manager, OfKernel(self._language), reader)
        kernel.died = lambda: self._died(kernel)
        # of a kernel that is killed nothing is heard, not even when it is started anew
        manager.add_restart_callback(kernel.died)
        manager.add_restart_callback(kernel.died, "dead")
        self._listen(kernel)
        return kernel

    def _listen(self, kernel: _Kernel) -> None:
        if kernel.stream is not None and not kernel.stream.closed():
            kernel.stream.close()
        kernel.ports = list(kernel.manager.ports)
        kernel.stream = kernel.manager.connect_iopub()
        kernel.stream.on_recv(lambda parts: self._heard(kernel, parts))

    def _leave(self, kernel: _Kernel) -> None:
        kernel.manager.remove_restart_callback(kernel.died)
        kernel.manager.remove_restart_callback(kernel.died, "dead")
        if not kernel.stream.closed():
            kernel.stream.close()

    def _died(self, kernel: _Kernel) -> None:
        kernel.executions.cut_off()
        self._settle(kernel)

    def _heard(self, kernel: _Kernel, parts: list[Any]) -> None:
        """A message of the kernel's. Most are nobody's but a page's that is there, and are not unpacked."""
        _, parts = kernel.reader.feed_identities(parts)
        header, parent = kernel.reader.unpack(parts[1]), kernel.reader.unpack(parts[2])
        kind, asked = header["msg_type"], parent.get("msg_id", "")
        if kind == "status" and not asked:
            if kernel.reader.unpack(parts[4])["execution_state"] == "starting":
                kernel.executions.cut_off()
        elif kind == "update_display_data" or kernel.executions.holds(asked):
            unpacked: list[Mapping[str, Any]] = []

            def unpack() -> Mapping[str, Any]:
                if not unpacked:  # only once, for its signature may not be seen twice
                    unpacked.append(kernel.reader.deserialize(parts)["content"])
                return unpacked[0]

            size = sum(map(len, parts[4:]))
            kernel.executions.take(asked, kind, header["msg_id"], str(header["date"]), unpack, size)
        if kind == "status":
            self._settle(kernel)

    def _settle(self, kernel: _Kernel) -> None:
        """Write in a while, if there is something to write; whoever is connected by then has it all."""
        if kernel.id not in self._waiting and kernel.executions.to_write(unfinished=False, lost=False):
            self._waiting.add(kernel.id)
            self._run(self._write_later(kernel))

    async def _write_later(self, kernel: _Kernel) -> None:
        await asyncio.sleep(GRACE_S)
        self._waiting.discard(kernel.id)
        await self._write(kernel, unfinished=False, lost=False)

    async def _write(self, kernel: _Kernel, unfinished: bool, lost: bool) -> list[str]:
        """The notebooks that were written. What failed is kept for another try."""
        async with self._one_at_a_time:
            found = kernel.executions.to_write(unfinished, lost)
            if not found:
                return []
            over = [one for one in found if one.outputs.ended]
            for one in found:
                one.written = True  # until more of it comes
            again = not await self._find_paths()
            if not kernel.paths:
                again = True
                self._say(kernel, "its kernel has no notebook")
            placed: set[str] = set()
            written: list[str] = []
            for path in kernel.paths:
                done = await self._write_one(kernel, path, found)
                if done is None or done.held_back:
                    again = True
                elif done.at is not None:
                    placed |= {one.asked for one in done.placed}
                    written.append(path)
                    self._written_at[path] = done.at
            kernel.executions.forget(one for one in over if one.asked in placed)
            missing = [one for one in found if one.asked not in placed]
            for one in missing if again else []:
                one.written = False
            if missing and not again:
                self._say(kernel, "no cell has asked for it, or the one that has was changed")
            return written

    async def _write_one(self, kernel: _Kernel, path: str, found: list[Execution]) -> notebook_file.Written | None:
        """What came of it; None where it failed, for whatever reason."""

        def alone() -> bool:
            return not kernel.executions.is_watched and not self._is_elsewhere(kernel, path)

        try:
            if self._is_elsewhere(kernel, path):
                return notebook_file.Written()
            return await notebook_file.write(self._server.contents_manager, path, found, alone)
        except Exception as error:  # noqa: BLE001 - a contents manager may raise anything; it is tried again
            self._say(kernel, f"{path}: {error!r}")
            return None

    def _is_elsewhere(self, kernel: _Kernel, path: str) -> bool:
        """Whether a page shows this notebook with another kernel: what that page has is what counts."""
        others = (one for one in self._kernels.values() if one is not kernel and one.executions.is_watched)
        return any(path in one.paths for one in others)

    def _say(self, kernel: _Kernel, why: str) -> None:
        """Once for each reason, not at each try."""
        if kernel.said != why:
            kernel.said = why
            self._server.log.warning("dure: output that no page has seen was not written: %s", why)

    async def _find_paths(self) -> bool:
        """How notebooks are called now; whether that could be found."""
        try:
            sessions = await ensure_async(self._server.session_manager.list_sessions())
        except Exception as error:  # noqa: BLE001 - its database may raise anything; the names of before stay
            self._server.log.warning("dure: notebooks of kernels could not be listed: %r", error)
            return False
        for kernel in self._kernels.values():
            mine = [one for one in sessions if one["type"] == "notebook" and one["kernel"]["id"] == kernel.id]
            kernel.paths = [one["path"] for one in mine] or kernel.paths
        return True

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

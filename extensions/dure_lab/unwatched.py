"""Output that nobody watches: collected while its page is gone, for the page that comes next or for the file.

Kernels are listened to by a socket of our own beside those of pages. What a page sends to its kernel is looked at
as it passes; nothing of it is changed or held up. The file is written only while no page is connected to the
kernel, for any that is has the notebook in its memory, and a while later: a reloaded page is back by then.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.session import Session
from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError

from dure_lab import notebook_file
from dure_lab.executions import Execution, OfKernel

SETTING = "dure_unwatched"
GRACE_S = 5.0
_SWEEP_S = 10
_PACKED = "v1.kernel.websocket.jupyter.org"
_CUT_OFF = (None, 1006)
"""How a socket closes that nobody has closed."""


def install(server_app: ServerApp) -> Unwatched | None:
    """Have pages' sockets tell of what passes; None where this server's are of another kind."""
    settings = server_app.web_app.settings
    if settings.get("kernel_websocket_connection_class") is not ZMQChannelsWebsocketConnection:
        server_app.log.warning("dure: kernels are reached in a way of its own here: unwatched output is not kept")
        return None
    settings["kernel_websocket_connection_class"] = _Connection
    made = settings[SETTING] = Unwatched(server_app)
    PeriodicCallback(made.sweep, _SWEEP_S * 1000).start()
    return made


@dataclass
class _Kernel:
    """One that a page was ever connected to."""

    id: str
    executions: OfKernel
    reader: Session
    stream: Any
    paths: list[str] = field(default_factory=list)
    """Its notebooks, as they were called last."""
    written_at: str | None = None


class Unwatched:
    """Of all kernels of this server."""

    def __init__(self, server_app: ServerApp) -> None:
        self._server: Any = server_app
        self._language = "ko" if os.environ.get("DURE_LANGUAGE") == "ko" else "en"
        self._kernels: dict[str, _Kernel] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._waiting: set[str] = set()

    def connected(self, kernel_id: str, session: str) -> None:
        """A page connects to a kernel, and may ask for something as soon as it is."""
        kernel = self._kernels.get(kernel_id)
        if kernel is None:
            kernel = self._kernels[kernel_id] = self._listen(kernel_id)
        kernel.executions.connected(session)
        self._run(self._find_paths(kernel))

    def disconnected(self, kernel_id: str, session: str, left: bool) -> None:
        """A page has gone; `left`: it has closed its socket itself."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None:
            kernel.executions.disconnected(session, left)
            self._settle(kernel)

    def asked(self, kernel_id: str, session: str, asked: str, cell: str, code: str) -> None:
        """A page has a cell executed."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None:
            kernel.executions.ask(asked, session, cell, code)

    def hand_over(self, kernel_id: str, session: str, cells: list[str]) -> dict[str, Any]:
        """What gone pages have asked for in these cells, for a page that goes on with it.

        `written_at` is when the file was last written here: a page that has read it before reads it again.
        """
        kernel = self._kernels.get(kernel_id)
        found = [] if kernel is None else kernel.executions.hand_over(session, cells)
        return {
            "executions": [one.on_wire() for one in found],
            "written_at": None if kernel is None else kernel.written_at,
        }

    async def write(self, unfinished: bool = False, lost: bool = False) -> list[str]:
        """Write what belongs into files now (see `OfKernel.to_write`); the notebooks that were written."""
        return [
            path for kernel in list(self._kernels.values()) for path in await self._write(kernel, unfinished, lost)
        ]

    async def sweep(self) -> None:
        """Kernels that have ended are listened to no more; what they have put out is written."""
        for kernel in [one for one in self._kernels.values() if one.id not in self._server.kernel_manager]:
            kernel.executions.cut_off()
            await self._write(kernel, unfinished=True, lost=True)
            if not kernel.executions.is_watched:
                self._kernels.pop(kernel.id, None)
                if not kernel.stream.closed():
                    kernel.stream.close()

    def _listen(self, kernel_id: str) -> _Kernel:
        manager = self._server.kernel_manager.get_kernel(kernel_id)
        reader = Session(config=manager.session.config, key=manager.session.key)
        kernel = _Kernel(kernel_id, OfKernel(self._language), reader, manager.connect_iopub())
        kernel.stream.on_recv(lambda parts: self._heard(kernel, parts))
        return kernel

    def _heard(self, kernel: _Kernel, parts: list[Any]) -> None:
        """A message of the kernel's. Most are nobody's but a page's that is there, and are not unpacked."""
        _, parts = kernel.reader.feed_identities(parts)
        header, parent = kernel.reader.unpack(parts[1]), kernel.reader.unpack(parts[2])
        kind, asked = header["msg_type"], parent.get("msg_id", "")
        if kind == "status" and not asked:
            if kernel.reader.unpack(parts[4])["execution_state"] == "starting":
                kernel.executions.cut_off()
        elif kind == "update_display_data" or kernel.executions.holds(asked):
            content = kernel.reader.deserialize(parts)["content"]
            kernel.executions.take(asked, kind, header["msg_id"], str(header["date"]), content)
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
        async with self._one_at_a_time:
            await self._find_paths(kernel)
            found = kernel.executions.to_write(unfinished, lost)
            written: list[str] = []
            over = [one for one in found if one.outputs.ended]
            for one in found:
                one.written = True  # until more of it comes
            for path in kernel.paths if found else []:
                try:
                    at = await notebook_file.write(self._server.contents_manager, path, found)
                except HTTPError as error:
                    self._server.log.warning("dure: output of %s was not written: %s", path, error)
                    _again(found)
                    return written
                if at is not None:
                    kernel.written_at = at
                    written.append(path)
            kernel.executions.forget(over)
            return written

    async def _find_paths(self, kernel: _Kernel) -> None:
        sessions = await ensure_async(self._server.session_manager.list_sessions())
        mine = [one for one in sessions if one["type"] == "notebook" and one["kernel"]["id"] == kernel.id]
        kernel.paths = [one["path"] for one in mine] or kernel.paths

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _again(executions: list[Execution]) -> None:
    for one in executions:
        one.written = False


class _Connection(ZMQChannelsWebsocketConnection):
    """A page's socket to a kernel, as Jupyter's, that also tells of what passes."""

    _is_told = False

    @property
    def _unwatched(self) -> Unwatched:
        found: Unwatched = self.websocket_handler.settings[SETTING]
        return found

    def connect(self) -> Any:
        """From before it hears of anything."""
        self._is_told = True
        self._unwatched.connected(self.kernel_id, self.session.session)
        return super().connect()

    def disconnect(self) -> Any:
        """Jupyter may call it twice."""
        try:
            super().disconnect()  # type: ignore[no-untyped-call]
        finally:
            if self._is_told:
                self._is_told = False
                left = self.websocket_handler.close_code not in _CUT_OFF
                self._unwatched.disconnected(self.kernel_id, self.session.session, left)

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """What a cell asks for is noted before it is on its way."""
        asked = execution(incoming_msg, packed=self.subprotocol == _PACKED)
        if asked is not None:
            self._unwatched.asked(self.kernel_id, self.session.session, *asked)
        super().handle_incoming_message(incoming_msg)


def execution(message: str | bytes, packed: bool) -> tuple[str, str, str] | None:
    """Of a message that a page sends: its id, the cell and the code, where it has a cell executed; else None.

    `packed`: the page speaks the newer protocol, whose messages are bytes; in the older one only buffers are.
    """
    try:
        if isinstance(message, bytes):
            if not packed or b"execute_request" not in message:
                return None
            _, parts = deserialize_msg_from_ws_v1(message)  # type: ignore[no-untyped-call]
            header, metadata, content = (json.loads(parts[place]) for place in (0, 2, 3))
        else:
            if "execute_request" not in message:
                return None
            found = json.loads(message)
            header, metadata, content = found["header"], found["metadata"], found["content"]
        if header["msg_type"] != "execute_request" or content.get("silent"):
            return None
        asked = header["msg_id"], metadata.get("cellId"), content["code"]
    except (ValueError, KeyError, IndexError, AttributeError, TypeError):
        return None  # no message of a notebook's; Jupyter itself says what is wrong with it
    return asked if all(isinstance(one, str) for one in asked) else None

"""A page's socket to a kernel, that also tells `Unwatched` of what passes. Nothing of it is changed or held up."""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.ioloop import PeriodicCallback

from dure_lab.unwatched import Unwatched

_SETTING = "dure_unwatched"
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
    made: Unwatched = Unwatched(server_app)
    settings[_SETTING] = made
    PeriodicCallback(made.sweep, _SWEEP_S * 1000).start()
    return made


class _Connection(ZMQChannelsWebsocketConnection):
    """A page's socket to a kernel, as Jupyter's, that also tells of what passes."""

    _is_told = False
    _has_heard = False

    @property
    def _unwatched(self) -> Unwatched:
        found: Unwatched = self.websocket_handler.settings[_SETTING]
        return found

    def connect(self) -> Any:
        """From before it hears of anything."""
        self._is_told, self._has_heard = True, False
        # one buffer a kernel, of who was connected last; the call below takes it or throws it away
        buffer = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id) or {}
        replayed = buffer.get("session_key") == self.session_key
        self._unwatched.connected(self.kernel_id, self.session.session, replayed)
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

    def handle_outgoing_message(self, stream: Any, outgoing_msg: Any) -> None:
        """The first that comes from the kernel to everybody tells that the rest does."""
        if not self._has_heard and getattr(stream, "channel", None) == "iopub":
            self._has_heard = True
            self._unwatched.heard(self.kernel_id, self.session.session)
        super().handle_outgoing_message(stream, outgoing_msg)

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

"""A server extension for tests: pages' sockets hear of their kernels late, while the server's folder says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.ioloop import IOLoop

LATE = "sockets-are-late"
LATE_S = 0.7


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    usual, file = ZMQChannelsWebsocketConnection.create_stream, Path(server_app.root_dir) / LATE

    def create_stream(self: ZMQChannelsWebsocketConnection) -> None:
        usual(self)  # type: ignore[no-untyped-call]
        if file.exists():
            socket = self.channels["iopub"].socket
            socket.setsockopt(zmq.UNSUBSCRIBE, b"")
            IOLoop.current().call_later(LATE_S, socket.setsockopt, zmq.SUBSCRIBE, b"")

    ZMQChannelsWebsocketConnection.create_stream = create_stream  # type: ignore[method-assign]

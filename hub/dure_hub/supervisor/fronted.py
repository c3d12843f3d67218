"""Who reaches MLflow and Voila by network, where Envoy is elsewhere: Envoy alone, which shows a key.

Both believe a header that says who asks. On one machine a socket of mode 600 keeps everybody else away.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from dure_hub.settings import Settings

HEADER = "x-dure-front"
_NAME = HEADER.encode()


def key(settings: Settings) -> str:
    """What Envoy shows."""
    return settings.folder.secret("front-key")


class FrontedApp:
    """An ASGI application that answers by network only who shows the key; what comes by a Unix socket is ours."""

    def __init__(self, app: ASGIApp, shown: str) -> None:
        self._app, self._key = app, shown.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or say 403."""
        server = scope.get("server")  # a Unix socket's path has no port beside it
        by_network = scope["type"] in ("http", "websocket") and (server is None or server[1] is not None)
        if by_network and not hmac.compare_digest(dict(scope["headers"]).get(_NAME, b""), self._key):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
                return
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        await self._app(scope, receive, send)


class FrontedServer(HTTPServerConnectionDelegate):
    """The same for an application of Tornado's; what it is given comes by network."""

    def __init__(self, app: HTTPServerConnectionDelegate, shown: str) -> None:
        self._app, self._key = app, shown.encode()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Look at the head first."""
        return _Looked(self._app.start_request(server_conn, request_conn), request_conn, self._key)

    def on_close(self, server_conn: object) -> None:
        """Pass it on."""
        self._app.on_close(server_conn)


class _Looked(HTTPMessageDelegate):
    def __init__(self, inner: HTTPMessageDelegate, connection: HTTPConnection, shown: bytes) -> None:
        self._inner, self._connection, self._key = inner, connection, shown
        self._let = False

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        self._let = hmac.compare_digest(headers.get(HEADER, "").encode(), self._key)
        if self._let:
            del headers[HEADER]
            return self._inner.headers_received(start_line, headers)
        assert isinstance(start_line, RequestStartLine)  # noqa: S101
        self._connection.write_headers(
            ResponseStartLine("HTTP/1.1", 403, "Forbidden"), HTTPHeaders({"Content-Length": "0"})
        )
        self._connection.finish()
        return None

    def data_received(self, chunk: bytes) -> Any:
        return self._inner.data_received(chunk) if self._let else None

    def finish(self) -> None:
        if self._let:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if self._let:
            self._inner.on_connection_close()

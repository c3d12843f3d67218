"""A small real upstream: says what it was asked, echoes a websocket, streams on command, and checks logins.

`python upstream.py NAME ADDRESS` with ADDRESS a port of 127.0.0.1 or the path of a Unix socket.
"""

from __future__ import annotations

import asyncio
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

go = asyncio.Queue[None]()


class Echo(RequestHandler):
    """Name, path as received, headers and the body's length.

    500 where the path ends with /fail; only after so many seconds where it ends with /after/SECONDS. Every answer
    claims the whole origin for its scripts.
    """

    SUPPORTED_METHODS = ("GET", "POST", "PUT")

    async def get(self) -> None:
        self.set_header("Service-Worker-Allowed", "/")
        self.set_header("X-Kept", "1")
        before, _, seconds = self.request.path.rpartition("/after/")
        if before:
            await asyncio.sleep(float(seconds))
        if self.request.path.endswith("/fail"):
            self.set_status(500)
        self.write(
            {
                "name": self.application.settings["name"],
                "path": self.request.uri,
                "headers": {name.lower(): value for name, value in self.request.headers.get_all()},
                "length": len(self.request.body),
            }
        )

    post = put = get


class Events(RequestHandler):
    """Server-sent events, each sent only once somebody has asked for /…/next."""

    async def get(self) -> None:
        self.set_header("content-type", "text/event-stream")
        await self.flush()
        for number in range(3):
            await go.get()
            self.write(f"data: {number}\n\n")
            await self.flush()


class Next(RequestHandler):
    """Lets one more event go."""

    async def get(self) -> None:
        go.put_nowait(None)


class Socket(WebSocketHandler):
    """Echoes."""

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message)


class Check(RequestHandler):
    """What ext_authz asks: `Bearer good` is ann, and `Bearer slow` is after /next; a browser is led to the login,
    others get 401."""

    async def get(self) -> None:
        if self.request.headers.get("authorization") == "Bearer slow":
            await go.get()
            self.set_header("x-dure-user", "ann")
        elif self.request.headers.get("authorization") == "Bearer good" or self.get_cookie("login") == "good":
            self.set_header("x-dure-user", "ann")
            self.set_header("x-dure-admin", "0")
            self.set_header("x-dure-viewer-token", self.request.headers.get("accept-language", "none"))
            self.set_header("x-dure-seen", self.request.path)
        elif "text/html" in self.request.headers.get("accept", ""):
            self.set_cookie("state", "1")
            self.redirect("/services/dure/login")
        else:
            self.set_status(401)
            self.set_header("www-authenticate", "Bearer")
            self.set_header("content-security-policy", "default-src 'none'")
            self.set_header("x-frame-options", "DENY")
            self.set_header("x-content-type-options", "nosniff")
            self.write({"error": {"code": "not_logged_in"}})

    post = put = get


async def main(name: str, address: str) -> None:
    """Serve until ended."""
    routes: list[tuple[str, type[RequestHandler]]] = [
        (r"/services/dure/check/.*", Check),
        (r".*/events", Events),
        (r".*/next", Next),
        (r".*/ws", Socket),
        (r".*", Echo),
    ]
    server = HTTPServer(Application(routes, name=name))
    if address.isdigit():
        server.listen(int(address), "127.0.0.1")
    else:
        server.add_socket(bind_unix_socket(address))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

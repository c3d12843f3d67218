"""Real receivers of notices on loopback: a webhook by HTTP, and a mail server by SMTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

LOOPBACK = ["127.0.0.1/32"]


@dataclass
class Webhook:
    """What was posted, and what it answers: each of `answers` once, then 200; nothing while `hold` is set."""

    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    location: str = ""

    @property
    def url(self) -> str:
        """As Apprise writes it, with a secret in its path."""
        return f"json://127.0.0.1:{self.port}/hook/s3cret-path"

    @property
    def texts(self) -> list[str]:
        """The messages that came."""
        return [str(one["message"]) for one in self.got]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that listens."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.got.append(body)
            if hook.hold.is_set():
                hook.let_go.wait(60)
            status = hook.answers.pop(0) if hook.answers else 200
            try:
                self.send_response(status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except BrokenPipeError:
                self.close_connection = True  # whoever asked was ended meanwhile

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hook.port = server.server_address[1]
    try:
        yield hook
    finally:
        hook.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


FLOOD = 1 << 30


@dataclass
class Flood:
    """Answers with a body of up to `FLOOD` bytes; how many were taken from it."""

    port: int = 0
    sent: int = 0

    @property
    def url(self) -> str:
        """As Apprise writes it."""
        return f"json://127.0.0.1:{self.port}/"


@contextmanager
def flood() -> Iterator[Flood]:
    """One that listens."""
    found = Flood()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            part = b"x" * (1 << 20)
            try:
                self.send_response(200)
                self.end_headers()
                while found.sent < FLOOD:
                    self.wfile.write(part)
                    found.sent += len(part)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # whoever read it has had enough

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    found.port = server.server_address[1]
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mails:
    """What was delivered, to whom."""

    port: int = 0
    got: list[tuple[list[str], Message]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The server as Apprise writes it."""
        return f"mailto://127.0.0.1:{self.port}/?from=dure@example.org&to=nobody@example.org"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """One mail."""
        self.got.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content)))
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[Mails]:
    """One that listens."""
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=_free_port())
    controller.start()
    mails.port = controller.port
    try:
        yield mails
    finally:
        controller.stop()


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

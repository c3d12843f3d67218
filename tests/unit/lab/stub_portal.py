"""A portal that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request."""

    verb: str
    path: str
    token: str
    language: str
    body: Any


@dataclass
class StubPortal:
    """Answers by verb and path below `/api/v1/environments/`; 404 for the rest."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def of(self, verb: str, path: str) -> list[Asked]:
        """What was asked of this."""
        return [one for one in self.asked if (one.verb, one.path) == (verb, path)]


@contextmanager
def stub_portal(port: int = 0) -> Iterator[StubPortal]:
    """One that listens."""
    stub = StubPortal()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            path = self.path.removeprefix("/api/v1/environments/").removeprefix("/api/v1")
            shown, language = self.headers["Authorization"], self.headers["Accept-Language"]
            stub.asked.append(Asked(self.command, path, shown, language, body))
            status, said = stub.answers.get(f"{self.command} {path}", (404, {"error": {"code": "not_found"}}))
            content = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{listener.server_address[1]}"
    try:
        yield stub
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()

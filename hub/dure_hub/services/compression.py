"""Compressed answers, for the few that are large and repeat themselves."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from dure_hub.services.places import API

_WHERE = (f"{API}/gpu/", f"{API}/metrics")
"""Lists of machines. What holds a secret beside something that a stranger may choose is never compressed (its size
would tell of it), and what is sent piece by piece (logs, files) must not wait in a compressor."""


class Compression:
    """Compresses what lies at these paths for who can read it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gzip = GZipMiddleware(app, minimum_size=1000, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, compressed or not."""
        chosen = scope["type"] == "http" and str(scope["path"]).startswith(_WHERE)
        await (self._gzip if chosen else self._app)(scope, receive, send)

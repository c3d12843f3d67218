"""How much a request may bring."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dure_hub.services.errors import TooLarge, answer
from dure_hub.services.places import API

BODY_LIMIT = 1 << 20
"""Largest request body in bytes, but for snapshots: the operation counts those, and its limit is a setting."""


class BodyLimit:
    """Refuses larger bodies before they are read where their length is said, else as soon as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counting."""
        if scope["type"] != "http" or str(scope["path"]).startswith(f"{API}/snapshots/"):
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdecimal() or int(said) > BODY_LIMIT:
            await answer(Request(scope, receive), TooLarge(path=scope["path"]))(scope, receive, send)
            return
        size = 0

        async def count() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_LIMIT:
                raise HTTPException(413)
            return message

        await self._app(scope, count, send)

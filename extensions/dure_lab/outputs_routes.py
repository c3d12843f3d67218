"""The address by which a page takes over what pages before it have asked for."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from dure_lab.unwatched import Unwatched

_CELLS = 10_000
_LETTERS = 256
_SOURCE = 10_000_000


class TakeOver(APIHandler):
    """Asked by every page that opens a notebook whose kernel runs; no use of the server."""

    auth_resource = "kernels"
    _track_activity = False

    def initialize(self, unwatched: Unwatched) -> None:
        self.unwatched = unwatched

    @authenticated
    @authorized
    async def post(self) -> None:
        """Body {"kernel", "session", "cells": [{"id", "source"}]}: from now on these executions are this page's.

        `source` is null where the notebook keeps the ids of its cells.
        """
        body = self.get_json_body()
        asked: dict[str, Any] = body if isinstance(body, dict) else {}
        kernel, session = asked.get("kernel"), asked.get("session")
        if not _is_text(kernel, _LETTERS) or not _is_text(session, _LETTERS):
            raise HTTPError(400, "kernel and session are texts")
        cells = _cells(asked.get("cells"))
        self.finish(await self.unwatched.hand_over(str(kernel), str(session), cells))


def _cells(told: Any) -> dict[str, str | None]:
    """The source of each cell by its id. Raises `HTTPError` where that is not what was told."""
    if not isinstance(told, list) or len(told) > _CELLS:
        raise HTTPError(400, f"cells is a list of at most {_CELLS}")
    found: dict[str, str | None] = {}
    for cell in told:
        name, source = (cell.get("id"), cell.get("source")) if isinstance(cell, dict) else (None, None)
        if not _is_text(name, _LETTERS) or not (source is None or _is_text(source, _SOURCE)):
            raise HTTPError(400, "each cell has an id, and a source or null")
        found[str(name)] = source
    return found


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest

"""The address by which a page takes over what pages before it have asked for."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from dure_lab.unwatched import Unwatched

_CELLS = 10_000
_WORDS = 256


class TakeOver(APIHandler):
    """Asked by every page that opens a notebook whose kernel runs; no use of the server."""

    auth_resource = "kernels"
    _track_activity = False

    def initialize(self, unwatched: Unwatched) -> None:
        self.unwatched = unwatched

    @authenticated
    @authorized
    def post(self) -> None:
        """Body {"kernel", "session", "cells": [ids]}: from now on these executions are this page's."""
        body = self.get_json_body()
        asked: dict[str, Any] = body if isinstance(body, dict) else {}
        kernel, session, cells = asked.get("kernel"), asked.get("session"), asked.get("cells")
        if not _is_word(kernel) or not _is_word(session):
            raise HTTPError(400, "kernel and session are texts")
        if not isinstance(cells, list) or len(cells) > _CELLS or not all(_is_word(one) for one in cells):
            raise HTTPError(400, f"cells is a list of at most {_CELLS} ids")
        self.finish(self.unwatched.hand_over(str(kernel), str(session), cells))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _WORDS

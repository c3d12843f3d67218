"""Voila in a person's own server, loaded by the first visit to it: it costs no start that does not use it."""

from __future__ import annotations

from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import PathMatches, Router, Rule


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter finds the function below."""
    return [{"module": "dure_lab.late_voila"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    """Hold Voila's place under `/voila`. Who may visit is decided by its own handlers, as without us."""
    place = url_path_join(server_app.web_app.settings["base_url"], "voila")
    rule = Rule(PathMatches(rf"{place}(/.*)?$"), _Late(server_app))
    # As Tornado adds handlers: before the last rule, which answers all the rest with 404.
    server_app.web_app.default_router.rules.insert(-1, rule)


class _Late(Router):
    """Answers nothing itself: the first time, it adds Voila's own handlers, which come right behind it."""

    def __init__(self, server_app: ServerApp) -> None:
        self._server_app = server_app
        self._loaded = False

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate | None:
        """None, so that the search goes on."""
        if not self._loaded:
            from voila.server_extension import _load_jupyter_server_extension as load

            self._loaded = True
            load(self._server_app)
            self._server_app.log.info("Voila is loaded.")
        return None

"""Voila in a person's own server, loaded by their first visit to it: it costs no start that does not use it.

All that Voila adds answers only those who are logged in to this server, but for the files that come with packages.
Voila itself checks some of its addresses and not others: it hands out the pictures of a person's folder to anybody
who guesses a name.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.base.handlers import FileFindHandler, JupyterHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import PathMatches, Router, Rule, RuleRouter
from tornado.web import Application, RequestHandler, authenticated

NOT_LOADED = (
    "Voila did not load in this server. The server's log says why. Open the page again to try once more.\n"
    "이 서버에서 Voila를 불러오지 못했습니다. 이유는 서버 로그에 있습니다. 페이지를 다시 열면 다시 시도합니다.\n"
)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter finds the function below."""
    return [{"module": "dure_lab.late_voila"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    """Hold Voila's place under `/voila`."""
    place = url_path_join(server_app.web_app.settings["base_url"], "voila")
    rule = Rule(PathMatches(rf"{place}(/.*)?$"), _Late(server_app))
    # As Tornado adds handlers: before the last rule, which answers all the rest with 404.
    server_app.web_app.default_router.rules.insert(-1, rule)


class _Closed(JupyterHandler):
    """Answers those who are logged in. Others are led to the login where they look at a page, else refused."""

    async def prepare(self, **how: Any) -> None:
        """Before anything else of the handler's."""
        await super().prepare(**how)
        if not self._finished:
            authenticated(_nothing)(self)


class _Late(Router):
    """Leaves a visit to Voila's own handlers, which come right behind it; before there are any, it loads them."""

    def __init__(self, server_app: ServerApp) -> None:
        self._server_app = server_app
        self._loaded = False

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate | None:
        """None once Voila is there, so that the search goes on."""
        if self._loaded:
            return None
        application: Application = self._server_app.web_app
        return application.get_handler_delegate(request, _Load, {"late": self})

    def load(self) -> None:
        """Add Voila's handlers, closed. Where that fails none of them is left, to be tried again."""
        from voila.server_extension import _load_jupyter_server_extension as load
        from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler

        # Scripts, styles and fonts of packages are as public as JupyterLab's: a page asks for some of them in ways
        # that the hub takes no cookie from.
        public = FileFindHandler, MultiStaticFileHandler, TemplateStaticFileHandler
        _tell_root(self._server_app)
        rules: list[Rule] = self._server_app.web_app.default_router.rules
        before = list(rules)
        try:
            load(self._server_app)
            for rule in rules:
                if rule not in before:
                    _close(rule.target, public)
        except BaseException:
            rules[:] = before
            raise
        self._loaded = True
        self._server_app.log.info("Voila is loaded.")


class _Load(_Closed):
    """Loads Voila for whoever is logged in, and lets the browser ask again."""

    def initialize(self, late: _Late) -> None:
        self._late = late

    async def prepare(self, **how: Any) -> None:
        """Every verb gets the same answer."""
        await super().prepare(**how)
        if self._finished:
            return
        self.set_header("Cache-Control", "no-store")
        try:
            self._late.load()
        except Exception:
            self.log.exception("Voila did not load; the next visit tries again.")
            self.set_status(503)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(NOT_LOADED)
        else:
            assert self.request.uri is not None  # noqa: S101 - its path has led here
            self.redirect(self.request.uri, status=307)


def _tell_root(server_app: ServerApp) -> None:
    """Have our template's links lead below the path that the whole portal is below, where there is one."""
    root = urlsplit(os.environ.get("DURE_URL", "")).path.rstrip("/")
    if root:
        voila = server_app.config.VoilaConfiguration
        given = voila.get("resources")  # an owner's own, where they have set any
        resources = given if isinstance(given, dict) else {}
        voila.resources = {**resources, "dure": {**resources.get("dure", {}), "root": root}}


def _close(router: Any, public: tuple[type[RequestHandler], ...]) -> None:
    """Put the check before every handler of these that is not `public`."""
    if not isinstance(router, RuleRouter):
        raise TypeError(f"Voila adds what is no list of handlers: {router!r}")
    for spec in router.rules:
        handler = spec.target
        if not (isinstance(handler, type) and issubclass(handler, RequestHandler)):
            raise TypeError(f"Voila adds what is no handler: {handler!r}")
        if issubclass(handler, public):
            continue
        closed = type(f"Closed{handler.__name__}", (_Closed, handler), {})
        spec.target = closed
        if hasattr(spec, "handler_class"):
            spec.handler_class = closed


def _nothing(_handler: RequestHandler) -> None:
    """What those who are logged in may do here; the handler itself goes on then."""

"""What the pages of a person's server ask of it: about its own environment, what is done before it ends, and
output that no page has seen.

Everything is under `dure/` of the server. The portal's token stays in this process.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from dure.errors import BadRequest, DureError, NotRunning, Text
from dure_lab.ending import SCHEMA, Ending
from dure_lab.ending_routes import BeforeStop, Checkpoint, Saved
from dure_lab.outputs_routes import TakeOver
from dure_lab.page_input import Input
from dure_lab.page_socket import install
from dure_lab.portal import Looks, Portal, Refused

ONE_OF_TWO: Text = {
    "en": "give `hours` (above 0, at most 720) or `until` (a time), and not both",
    "ko": "`hours`(0보다 크고 720 이하) 또는 `until`(시각) 중 하나만 주세요",
}
_LONGEST_H = 720


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter finds the function below."""
    return [{"module": "dure_lab.routes"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    """Add the addresses. Those of the portal only where a portal has started this server."""
    events: Any = server_app.event_logger
    events.register_event_schema(SCHEMA)
    unwatched = install(server_app)
    ending = {"ending": Ending(events, server_app.log, unwatched=unwatched)}
    handlers: list[Any] = [
        ("before-stop", BeforeStop, ending),
        ("checkpoint", Checkpoint, ending),
        ("saved", Saved, ending),
        ("input", Input, {}),
    ]
    if unwatched is not None:
        handlers.append(("outputs", TakeOver, {"unwatched": unwatched}))
    portal = Portal.of_this_server()
    if portal is not None:
        mine = {"portal": portal, "looks": Looks(portal)}
        handlers += [
            ("environment", Environment, mine),
            ("usage", Usage, mine),
            ("extend", Extend, mine),
            ("stop", Stop, mine),
            ("notices/seen", NoticesSeen, mine),
        ]
    application: Any = server_app.web_app
    if portal is not None:
        # the pages' own configuration; JupyterLab adds to the same, before us or after
        page = {"durePortal": "true", "dureLanguage": os.environ.get("DURE_LANGUAGE", "")}
        application.settings.setdefault("page_config_data", {}).update(page)
    base = application.settings["base_url"]
    application.add_handlers(
        ".*$", [(url_path_join(base, "dure", name), handler, more) for name, handler, more in handlers]
    )


class OfThePortal(APIHandler):
    """Passes on what the portal says, its refusals included."""

    auth_resource = "dure"

    def initialize(self, portal: Portal, looks: Looks) -> None:
        self.portal, self.looks = portal, looks

    @property
    def language(self) -> str:
        """The reader's, as the page says it."""
        return "ko" if self.request.headers.get("Accept-Language", "").lower().startswith("ko") else "en"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The one error shape for what people may read; Jupyter's own for the rest."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, DureError):
            self.set_status(error.status)
            self.finish(error.to_wire(self.language))
        elif isinstance(error, Refused):
            self.set_status(error.status)
            self.finish(dict(error.body))
        else:
            super().write_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """No traceback for what is no fault of this server."""
        if isinstance(value, DureError | Refused):
            self.log.info("dure: %s", value)
        else:
            super().log_exception(typ, value, tb)


class Environment(OfThePortal):
    """The environment with what it uses and the portal's time, shared by all pages for some seconds."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Look at it."""
        self.finish(await self.looks.look(self.language))


class Usage(OfThePortal):
    """What this server uses now."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Look at it, as fresh as the portal has it."""
        self.finish(await self.portal.ask("GET", "/usage", self.language))


class Extend(OfThePortal):
    """Moves the end of this environment."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """By `hours` from the present end, or to `until`; the environment as it is then."""
        until = await self._until(self.get_json_body())
        seen = await self.portal.ask("POST", "/extend", self.language, {"until": until})
        self.looks.forget()
        self.finish(seen)

    async def _until(self, body: Any) -> str:
        asked: dict[str, Any] = body if isinstance(body, dict) else {}
        hours, until = asked.get("hours"), asked.get("until")
        if isinstance(until, str) and hours is None:
            return until
        if until is not None or not _is_time(hours):
            raise BadRequest(field="body", value=str(body)[:80], rule=ONE_OF_TWO)
        now = await self.portal.ask("GET", "", self.language)
        end = (now.get("lease") or {}).get("until")
        if end is None:
            raise NotRunning(name=self.portal.name, phase=now.get("phase"))
        return str((datetime.fromisoformat(end) + timedelta(hours=hours)).isoformat())


def _is_time(hours: Any) -> TypeGuard[float]:
    return isinstance(hours, int | float) and not isinstance(hours, bool) and 0 < hours <= _LONGEST_H


class NoticesSeen(OfThePortal):
    """Marks notices of the owner's as read."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Those that the page names."""
        body = self.get_json_body()
        ids = body.get("ids") if isinstance(body, dict) else None
        await self.portal.of_person("POST", "/me/notices/seen", self.language, {"ids": ids})
        self.looks.forget()
        self.finish({"seen": True})


class Stop(OfThePortal):
    """Stops this environment, and with it this server."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """The answer is on its way before the end."""
        await self.portal.ask("DELETE", "", self.language)
        self.looks.forget()
        self.finish({"stopping": True})

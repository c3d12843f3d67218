"""Inside a person's server: whoever is let in no more loses what they have open there, within seconds.

JupyterHub's single-user server remembers for five minutes who may enter, and asks about an open websocket never
again. Here the hub is asked anew for each guest with a websocket open, and a guest it does not let in any more is
cut off. The owner's own are never looked at, so whoever shares nothing pays nothing.

The server says that it does so (`dure/guests`), and only one that says so is shared: another image may lack this.

A guest who could run code here could also have changed this program, as anything else of the owner's. The hub's
refusal of new requests they cannot change.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable
from typing import Any
from weakref import WeakKeyDictionary

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError, authenticated
from tornado.websocket import WebSocketHandler

LOOK_S = 2.0
"""Time between two questions to the hub about the same guest."""
FRESH_S = 3
"""How long the hub's word on a request is remembered where there may be guests."""
SHARE_ENDED = 4403
"""The close code; of those that applications may define."""
log = logging.getLogger("dure.guests")


class Guests:
    """The websockets of those who are not the owner, each with the token that opened it."""

    def __init__(self, auth: Any, owner: str) -> None:
        self._auth, self._owner = auth, owner
        self._open: WeakKeyDictionary[WebSocketHandler, str] = WeakKeyDictionary()

    def watch(self) -> None:
        """From now on, see who opens what."""
        ask = self._auth.get_user

        def noting(handler: Any, *, sync: bool = True) -> Any:
            return ask(handler) if sync else self._noted(handler, ask(handler, sync=False))

        self._auth.cache_max_age = self._auth.cache.max_age = FRESH_S
        self._auth.get_user = noting

    async def look(self) -> None:
        """Ask about each guest once, and close what those have open who may not enter any more."""
        tokens = {token for handler, token in self._open.items() if handler.ws_connection is not None}
        for token, allowed in zip(tokens, await asyncio.gather(*map(self._may_enter, tokens)), strict=True):
            if not allowed:
                self._close(token)

    async def _noted(self, handler: Any, asked: Awaitable[Any]) -> Any:
        user = await asked
        if user and user["name"] != self._owner and isinstance(handler, WebSocketHandler):
            self._open[handler] = self._auth.get_token(handler)
        return user

    async def _may_enter(self, token: str) -> bool:
        try:
            user = await self._auth.user_for_token(token, use_cache=False, sync=False)
        except HTTPError as away:
            # A hub that restarts is away for seconds, and no share can end meanwhile, since the hub ends them.
            log.warning("could not ask the hub about a guest: %s", away)
            return True
        return user is not None and bool(self._auth.check_scopes(self._auth.access_scopes, user))

    def _close(self, token: str) -> None:
        for handler, opened_by in list(self._open.items()):
            if opened_by == token and handler.ws_connection is not None:
                log.info("closing %s: its guest may not enter any more", handler.request.path)
                handler.close(SHARE_ENDED, "the share has ended")


class Watching(APIHandler):
    """Says that guests are watched here."""

    auth_resource = "dure"

    @authenticated
    @authorized
    async def get(self) -> None:
        """For the portal, which asks with the server's own token."""
        self.finish({"watching": True})


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Watch for guests, where there can be any: servers are shared only on hosts of people's own."""
    if "://" not in os.environ.get("JUPYTERHUB_OAUTH_CALLBACK_URL", ""):
        return
    guests = Guests(server_app.identity_provider.hub_auth, os.environ["JUPYTERHUB_USER"])
    guests.watch()
    server_app.web_app.settings["dure_guests"] = PeriodicCallback(guests.look, LOOK_S * 1000)
    server_app.web_app.settings["dure_guests"].start()
    place = url_path_join(server_app.web_app.settings["base_url"], "dure", "guests")
    server_app.web_app.add_handlers(".*$", [(place, Watching)])

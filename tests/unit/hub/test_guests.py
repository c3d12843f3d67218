"""A guest who may not enter any more loses their websockets; the owner and other guests keep theirs."""

from __future__ import annotations

from typing import Any

import pytest
from jupyterhub.services.auth import HubOAuth
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, HTTPError
from tornado.websocket import WebSocketHandler

from dure_hub.spawners import guests
from dure_hub.spawners.guests import SHARE_ENDED, Guests

MAY_ENTER = "access:servers!server=ana/"


class Connection:
    """What a request and a websocket ask of theirs."""

    context = None

    def set_close_callback(self, callback: Any) -> None:
        """Nobody closes."""

    def is_closing(self) -> bool:
        """Open until it is told otherwise."""
        return False


class Socket(WebSocketHandler):
    """An open websocket that notes how it was closed."""

    def __init__(self, token: str) -> None:
        line = RequestStartLine("GET", "/user/ana/api/kernels/1/channels", "HTTP/1.0")
        request = HTTPServerRequest(start_line=line, headers=HTTPHeaders(), connection=Connection())  # type: ignore[arg-type]
        request.headers["Authorization"] = f"token {token}"
        super().__init__(Application(), request)
        self.ws_connection = Connection()  # type: ignore[assignment]
        self.ended: tuple[int | None, str | None] | None = None

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Note it."""
        self.ended = code, reason
        self.ws_connection = None


class Auth(HubOAuth):  # type: ignore[misc]
    """JupyterHub's own, with this test in the place of the hub."""

    people: dict[str, dict[str, Any]]
    away = False

    async def _check_hub_authorization(self, url: str, api_token: str, **_: Any) -> Any:
        if self.away:
            raise HTTPError(500, "Failed to connect to Hub API")
        return self.people.get(api_token)

    def _patch_xsrf(self, handler: Any) -> None:
        """No cookies here."""


def person(name: str, *scopes: str) -> dict[str, Any]:
    return {"kind": "user", "name": name, "scopes": list(scopes)}


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> Auth:
    """The owner ana, and ben and eve as guests."""
    monkeypatch.setenv("JUPYTERHUB_BASE_URL", "/")
    made = Auth(
        oauth_client_id="jupyterhub-user-ana",
        api_token="t",
        base_url="/user/ana/",
        access_scopes={MAY_ENTER},
        api_url="http://127.0.0.1:1/hub/api",
    )
    made.people = {name: person(name, MAY_ENTER) for name in ("ana", "ben", "eve")}
    return made


async def test_a_guests_sockets_are_closed_once_the_hub_refuses_them(auth: Auth) -> None:
    watching = Guests(auth, "ana")
    watching.watch()
    assert (auth.cache_max_age, auth.cache.max_age) == (guests.FRESH_S, guests.FRESH_S)
    sockets = {name: Socket(name) for name in ("ana", "ben", "eve")}
    second = Socket("ben")
    for socket in (*sockets.values(), second):
        assert (await auth.get_user(socket, sync=False))["name"]
    await watching.look()
    assert [socket.ended for socket in sockets.values()] == [None, None, None]
    auth.people["ben"] = person("ben")  # the share is gone
    auth.people["ana"] = person("ana")  # and nobody asks about the owner
    del auth.people["eve"]  # her token is gone altogether
    await watching.look()
    assert sockets["ana"].ended is None
    for socket in (sockets["ben"], second, sockets["eve"]):
        assert socket.ended is not None
        assert socket.ended[0] == SHARE_ENDED


async def test_a_hub_that_is_away_closes_nothing(auth: Auth) -> None:
    watching = Guests(auth, "ana")
    watching.watch()
    socket = Socket("ben")
    await auth.get_user(socket, sync=False)
    auth.away = True
    await watching.look()
    assert socket.ended is None


async def test_what_is_closed_is_asked_about_no_more(auth: Auth) -> None:
    watching = Guests(auth, "ana")
    watching.watch()
    socket = Socket("ben")
    await auth.get_user(socket, sync=False)
    socket.close()
    auth.people = {}
    await watching.look()
    assert socket.ended == (None, None)


class App:
    """A server application, as far as the extension asks."""

    class identity_provider:  # noqa: N801 - its name there
        hub_auth = None

    class web_app:  # noqa: N801
        settings: dict[str, Any] = {}


def test_where_servers_are_not_shared_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_OAUTH_CALLBACK_URL", "/user/ana/oauth_callback")
    guests._load_jupyter_server_extension(App())
    assert App.web_app.settings == {}

"""A little JupyterHub on a real port: enough of its API to know people, take logins and start servers."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.unit.services.waiting import until

CALLBACK = "/services/dure/oauth_callback"


class StubHub:
    """`tokens` are users by token; `away` makes every answer a 503; `asked` counts questions by path."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, tuple[str, str]] = {}
        self.shares: dict[tuple[str, str], dict[str, str]] = {}
        """Of each owner and server, the people who may enter, and since when."""
        self.away = False
        self.callback = CALLBACK
        self.asked: dict[str, int] = {}
        self.port = 0

    def reset(self) -> None:
        """As at first."""
        self.tokens.clear()
        self.codes.clear()
        self.shares.clear()
        self.asked.clear()
        self.away = False
        self.callback = CALLBACK

    def person(self, name: str, *, admin: bool = False, session: str | None = None, use: bool = True) -> str:
        """A new user with a token, which is the answer."""
        token = f"hubtoken-{len(self.tokens)}"
        scopes = ["read:users:name!user=" + name]
        scopes += ["custom:dure:use"] if use else []
        scopes += ["custom:dure:admin"] if admin else []
        self.tokens[token] = {
            "kind": "user",
            "name": name,
            "admin": admin,
            "scopes": scopes,
            "session_id": session,
        }
        return token

    def code(self, token: str, challenge: str) -> str:
        """A code that a login with this challenge may trade for the token, once."""
        code = f"code-{len(self.codes)}"
        self.codes[code] = (token, challenge)
        return code

    def routes(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/hub/api/user", self._user),
                Route("/hub/api/users", self._users),
                Route("/hub/api/users/{name}", self._one, methods=["GET", "POST"]),
                Route("/hub/api/users/{name}/shared", self._shared),
                Route("/hub/api/shares/{name}/{server:path}", self._shares, methods=["GET", "POST", "PATCH"]),
                Route("/hub/api/users/{name}/server", self._server, methods=["POST", "DELETE"]),
                Route("/hub/api/users/{name}/servers/{server}", self._server, methods=["POST", "DELETE"]),
                Route("/hub/api/oauth2/token", self._token, methods=["POST"]),
            ]
        )

    def _count(self, request: Request) -> Response | None:
        path = request.url.path
        self.asked[path] = self.asked.get(path, 0) + 1
        return JSONResponse({"message": "away"}, 503) if self.away else None

    async def _user(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").partition(" ")[2]
        found = self.tokens.get(token)
        return self._count(request) or (
            JSONResponse(found) if found else JSONResponse({"message": "Forbidden"}, 403)
        )

    async def _users(self, request: Request) -> Response:
        return self._count(request) or JSONResponse([])

    async def _one(self, request: Request) -> Response:
        if request.method == "POST":
            return self._count(request) or JSONResponse({"message": "exists"}, 409)
        return self._count(request) or JSONResponse({"name": request.path_params["name"], "servers": {}})

    async def _shares(self, request: Request) -> Response:
        owner, server = request.path_params["name"], request.path_params["server"]
        held = self.shares.setdefault((owner, server), {})
        body = {} if request.method == "GET" else await request.json()
        if request.method == "POST":
            assert body["scopes"] == [f"access:servers!server={owner}/{server}"]
            held.setdefault(body["user"], "2026-01-01T00:00:00Z")
        elif request.method == "PATCH":
            held.pop(body["user"], None)
        items = [{"kind": "user", "user": {"name": who}, "created_at": since} for who, since in held.items()]
        return self._count(request) or JSONResponse({"items": items if request.method == "GET" else []})

    async def _shared(self, request: Request) -> Response:
        who = request.path_params["name"]
        found = [place for place, held in self.shares.items() if who in held]
        items = [{"server": {"user": {"name": owner}, "name": server}} for owner, server in found]
        return self._count(request) or JSONResponse({"items": items})

    async def _server(self, request: Request) -> Response:
        return self._count(request) or Response(status_code=201 if request.method == "POST" else 204)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        token, challenge = self.codes.pop(str(form["code"]), ("", ""))
        shown = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        right = base64.urlsafe_b64encode(shown).rstrip(b"=").decode() == challenge
        known = form["client_id"] == "service-dure" and form["client_secret"] == "portal-secret"
        if not (token and right and known and form["redirect_uri"] == self.callback):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": token, "token_type": "Bearer"})


@contextmanager
def running_hub() -> Iterator[StubHub]:
    """The stub on a free port, in a thread of this process."""
    hub = StubHub()
    server = uvicorn.Server(uvicorn.Config(hub.routes(), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the stub hub to listen")
    hub.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(timeout=10)

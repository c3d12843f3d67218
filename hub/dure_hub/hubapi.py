"""The one client of JupyterHub's REST API, with the portal service's token.

The hub's default server has an empty name there and is `default` here. A hub that is away or being restarted is
`NotReady`; what it refuses is `HubRefused` with its own sentence. Its "201 Created" for a start is never a
promise: the server is there when the hub says `ready`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from dure.errors import DureError, NotReady, Text
from dure_hub.settings import Settings

DEFAULT = "default"
_AWAY = {502, 503, 504}
_PAGE = 200  # the hub's own upper limit


class HubRefused(DureError):
    """JupyterHub did not do what was asked; `why` is its own sentence, `answer` its HTTP status."""

    code, status = "hub_refused", 502
    message: ClassVar[Text] = {
        "en": "JupyterHub refused (HTTP {answer}): {why}",
        "ko": "JupyterHub가 거부했습니다(HTTP {answer}): {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again; if it stays so, tell an administrator this sentence.",
        "ko": "다시 시도하세요. 계속되면 이 문장을 관리자에게 알려 주세요.",
    }


@dataclass(frozen=True)
class HubPerson:
    """A user of the hub's."""

    name: str
    admin: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class HubServer:
    """An active server as the hub knows it. `pending` is spawn, stop, check or None.

    `last_activity` is by the hub's clock; None where it has not heard of any.
    """

    user: str
    name: str
    ready: bool
    pending: str | None
    last_activity: datetime | None = None


def hub_name(name: str) -> str:
    """The hub's name of an environment."""
    return "" if name == DEFAULT else name


def portal_name(name: str) -> str:
    """The environment's name of a hub server."""
    return name or DEFAULT


class HubApi:
    """Answers plain values. One object a process; close it at the end."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.hub_port}{settings.at('/hub/api')}",
            timeout=httpx.Timeout(30, connect=5),
            transport=transport,
            trust_env=False,
        )

    async def whoami(self, token: str, session_id: str | None = None) -> dict[str, Any] | None:
        """The user (or service) of a token with its scopes; None if the hub does not know the token.

        With the browser's session id, a logout at the hub ends the token too.
        """
        query = {} if session_id is None else {"session_id": session_id}
        answer = await self._ask("GET", "/user", token=token, params=query)
        if answer.status_code in (401, 403):
            return None
        found: dict[str, Any] = self._good(answer).json()
        return found

    async def exchange(self, code: str, *, verifier: str, redirect: str) -> str | None:
        """The browser's token for the code of a login with PKCE; None if the hub does not accept the code."""
        form = {
            "client_id": "service-dure",
            "client_secret": self._settings.folder.secret("portal-token"),
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect,
        }
        answer = await self._ask("POST", "/oauth2/token", data=form)
        if answer.status_code in (400, 401, 403):
            return None
        return str(self._good(answer).json()["access_token"])

    async def user(self, name: str) -> dict[str, Any] | None:
        """The hub's user; None if there is none."""
        answer = await self._ask("GET", f"/users/{quote(name, safe='')}")
        if answer.status_code == 404:
            return None
        found: dict[str, Any] = self._good(answer).json()
        return found

    async def people(self) -> list[HubPerson]:
        """Everybody that the hub knows, with their groups."""
        found: list[HubPerson] = []
        while True:
            query = {"offset": str(len(found)), "limit": str(_PAGE)}
            page = self._good(await self._ask("GET", "/users", params=query)).json()
            found += [HubPerson(one["name"], bool(one.get("admin")), tuple(one.get("groups", ()))) for one in page]
            if len(page) < _PAGE:
                return found

    async def servers(self) -> list[HubServer]:
        """Every active server of everybody."""
        found: list[HubServer] = []
        offset = 0
        while True:
            query = {"state": "active", "offset": str(offset), "limit": str(_PAGE)}
            page = self._good(await self._ask("GET", "/users", params=query)).json()
            for user in page:
                for server in user.get("servers", {}).values():
                    found.append(_server(user["name"], server))
            if len(page) < _PAGE:
                return found
            offset += _PAGE

    async def server(self, user: str, name: str) -> HubServer | None:
        """One active server; None if it is not active."""
        found = await self.user(user)
        server = (found or {}).get("servers", {}).get(hub_name(name))
        return None if server is None else _server(user, server)

    async def start_server(self, user: str, name: str, options: dict[str, Any]) -> None:
        """Ask for a start. One that runs or is starting already is no error; one that is stopping is."""
        answer = await self._ask("POST", _path(user, name), json={"user_options": options})
        if answer.status_code == 404:  # the hub meets people at their first login; this one came with a token
            await self.make_known(user)
            answer = await self._ask("POST", _path(user, name), json={"user_options": options})
        if answer.status_code == 400 and "already running" in _why(answer):
            return
        self._good(answer)

    async def stop_server(self, user: str, name: str) -> bool:
        """Ask for a stop. True if the hub has nothing running there now, False while it is stopping."""
        answer = await self._ask("DELETE", _path(user, name))
        if answer.status_code == 404:
            return True
        return self._good(answer).status_code != 202

    async def shares(self, user: str, name: str) -> dict[str, datetime | None]:
        """Who else may enter this server, and since when; empty where the hub has no such server."""
        found = await self._pages(_share_path(user, name))
        return {one["user"]["name"]: _time(one["created_at"]) for one in found if one["kind"] == "user"}

    async def share(self, user: str, name: str, person: str) -> None:
        """Let `person` enter this server, and nothing else. Twice is once."""
        scopes = [f"access:servers!server={user}/{hub_name(name)}"]
        self._good(await self._ask("POST", _share_path(user, name), json={"user": person, "scopes": scopes}))

    async def unshare(self, user: str, name: str, person: str) -> None:
        """Let `person` in no more. Who had no access is no error, nor is a server that is gone."""
        answer = await self._ask("PATCH", _share_path(user, name), json={"user": person})
        if answer.status_code != 404:
            self._good(answer)

    async def shared_with(self, person: str) -> list[tuple[str, str]]:
        """Owner and name of every server of others that `person` may enter by a share."""
        found = await self._pages(f"/users/{quote(person, safe='')}/shared")
        return [(one["server"]["user"]["name"], portal_name(one["server"]["name"])) for one in found]

    async def make_known(self, person: str) -> None:
        """Tell the hub of a person, whom it would meet at their first login. One it knows already is no error."""
        answer = await self._ask("POST", f"/users/{quote(person, safe='')}")
        if answer.status_code != 409:
            self._good(answer)

    async def groups(self) -> dict[str, frozenset[str]]:
        """Every group with its people."""
        found: dict[str, frozenset[str]] = {}
        while True:
            query = {"offset": str(len(found)), "limit": str(_PAGE)}
            page = self._good(await self._ask("GET", "/groups", params=query)).json()
            found |= {one["name"]: frozenset(one["users"]) for one in page}
            if len(page) < _PAGE:
                return found

    async def make_group(self, group: str) -> None:
        """Make a group without anybody. One that is there already is no error."""
        answer = await self._ask("POST", _group_path(group), json={})
        if answer.status_code != 409:
            self._good(answer)

    async def delete_group(self, group: str) -> None:
        """Delete a group. One that is gone is no error."""
        answer = await self._ask("DELETE", _group_path(group))
        if answer.status_code != 404:
            self._good(answer)

    async def add_to_group(self, group: str, people: Sequence[str]) -> None:
        """Put people in a group; the hub must know them. Twice is once."""
        self._good(await self._ask("POST", f"{_group_path(group)}/users", json={"users": list(people)}))

    async def take_from_group(self, group: str, person: str) -> None:
        """Take somebody out of a group. Who is not in it or not known, or a group that is gone, is no error."""
        answer = await self._ask("DELETE", f"{_group_path(group)}/users", json={"users": [person]})
        unknown = answer.status_code == 400 and "No such user" in _why(answer)
        if answer.status_code != 404 and not unknown:
            self._good(answer)

    async def progress(self, user: str, name: str) -> AsyncIterator[dict[str, Any]]:
        """The hub's events of a start, until one says `ready` or `failed`; nothing if it is not starting."""
        limit = httpx.Timeout(30, connect=5, read=60)  # it sends an empty line every eight seconds
        try:
            async with self._http.stream(
                "GET", _path(user, name) + "/progress", headers=self._headers(None), timeout=limit
            ) as answer:
                if answer.status_code in (400, 404):
                    return
                if answer.is_error:
                    await answer.aread()
                    self._good(answer)
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        event = json.loads(line.removeprefix("data:"))
                        yield event
                        if event.get("ready") or event.get("failed"):
                            return
        except httpx.TransportError as error:
            raise NotReady(part="JupyterHub") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _pages(self, path: str) -> list[dict[str, Any]]:
        """All of a list that the hub gives in pages; nothing where there is no such thing."""
        found: list[dict[str, Any]] = []
        while True:
            query = {"offset": str(len(found)), "limit": str(_PAGE)}
            answer = await self._ask("GET", path, params=query)
            if answer.status_code == 404:
                return found
            page = self._good(answer).json()["items"]
            found += page
            if len(page) < _PAGE:
                return found

    def _headers(self, token: str | None) -> dict[str, str]:
        return {"Authorization": f"token {token or self._settings.folder.secret('portal-token')}"}

    async def _ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, headers=self._headers(token), **more)
        except httpx.TransportError as error:
            raise NotReady(part="JupyterHub") from error

    def _good(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in _AWAY:
            raise NotReady(part="JupyterHub")
        if answer.is_error:
            raise HubRefused(answer=answer.status_code, why=_why(answer))
        return answer


def _path(user: str, name: str) -> str:
    quoted = quote(user, safe="")
    inside = hub_name(name)
    return f"/users/{quoted}/servers/{quote(inside, safe='')}" if inside else f"/users/{quoted}/server"


def _group_path(group: str) -> str:
    return f"/groups/{quote(group, safe='')}"


def _share_path(user: str, name: str) -> str:
    return f"/shares/{quote(user, safe='')}/{quote(hub_name(name), safe='')}"


def _server(user: str, model: dict[str, Any]) -> HubServer:
    return HubServer(
        user,
        portal_name(model["name"]),
        bool(model["ready"]),
        model["pending"],
        _time(model.get("last_activity")),
    )


def _time(text: str | None) -> datetime | None:
    """A time of the hub's; it is UTC even where it does not say so."""
    if not text:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _why(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        body = None
    text = body.get("message") if isinstance(body, dict) else answer.text
    return str(text or answer.reason_phrase)[:500]

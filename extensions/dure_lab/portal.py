"""The portal as this server asks it: with the server's own token, which no page ever holds.

Nothing here fails a server whose portal is away: that is a sentence, and the next look tries again.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from dure.errors import BadAnswer, DureError, PortalUnreachable

API = "/api/v1"
CONNECT_S, ANSWER_S = 3.0, 15.0
FRESH_S = 20.0
"""However many pages are open, the portal is asked as often as this."""
_UNREAD = "/me/notices?unseen=true&limit=5"
_GATEWAY = (502, 503, 504)


class Refused(Exception):
    """What the portal refused, in its own words: they go to the page as they came."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"the portal answered {status}")
        self.status, self.body = status, body


class Portal:
    """One portal, for the one environment that this server is."""

    def __init__(self, url: str, token: str, name: str) -> None:
        self.url, self.name = url.rstrip("/"), name
        self._token = token

    @classmethod
    def of_this_server(cls) -> Portal | None:
        """As the spawner has told this process; None for a server that no portal has started."""
        url, token = os.environ.get("DURE_URL"), os.environ.get("JUPYTERHUB_API_TOKEN")
        if not url or not token:
            return None
        return cls(url, token, os.environ.get("JUPYTERHUB_SERVER_NAME") or "default")

    async def ask(self, verb: str, path: str, language: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of an answer about this environment; None where that is empty.

        Raises `Refused`, `PortalUnreachable`, `BadAnswer`.
        """
        return await self.of_person(verb, f"/environments/{self.name}{path}", language, body)

    async def of_person(self, verb: str, path: str, language: str, body: Mapping[str, Any] | None = None) -> Any:
        """The same of anything that is the owner's."""
        request = HTTPRequest(
            f"{self.url}{API}{path}",
            method=verb,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept-Language": language,
                "Content-Type": "application/json",
            },
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            follow_redirects=False,
            connect_timeout=CONNECT_S,
            request_timeout=ANSWER_S,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:
            raise PortalUnreachable(url=self.url) from error
        if answer.code == 204:
            return None
        said = _json(answer.body)
        if 200 <= answer.code < 300 and said is not None:
            return said
        if isinstance(said, dict) and "error" in said:
            raise Refused(answer.code, said)
        raise PortalUnreachable(url=self.url) if answer.code in _GATEWAY else BadAnswer(status=answer.code)


@dataclass(frozen=True)
class _Seen:
    """An answer, and when it came by the clock that only counts."""

    at: float
    environment: Any
    usage: Any
    notices: Any


class Looks:
    """This environment and what it uses, looked at once for all open pages. One object a server."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._last: dict[str, _Seen] = {}
        self._looking: dict[str, asyncio.Task[_Seen]] = {}
        self._changes = 0

    async def look(self, language: str) -> dict[str, Any]:
        """`environment`, `usage`, unread `notices`, and `now`, the portal's own time; null where unknown.

        At most `FRESH_S` old. Errors as of `Portal.ask`; none is remembered.
        """
        seen = self._last.get(language)
        if seen is None or time.monotonic() - seen.at >= FRESH_S:
            looking = self._looking.get(language)
            if looking is None:
                looking = self._looking[language] = asyncio.create_task(self._look(language))
                looking.add_done_callback(lambda done: self._looked(language, done))
            seen = await asyncio.shield(looking)
        return {
            "environment": seen.environment,
            "usage": seen.usage,
            "notices": seen.notices,
            "now": _moved(seen),
        }

    def forget(self) -> None:
        """Something was changed: look again, and keep nothing of a look that began before."""
        self._changes += 1
        self._last.clear()
        self._looking.clear()

    def _looked(self, language: str, done: asyncio.Task[_Seen]) -> None:
        if self._looking.get(language) is done:
            del self._looking[language]

    async def _look(self, language: str) -> _Seen:
        changes = self._changes
        environment, usage, notices = await asyncio.gather(
            self._portal.ask("GET", "", language),
            self._known(self._portal.ask("GET", "/usage", language)),
            self._known(self._portal.of_person("GET", _UNREAD, language)),
        )
        seen = _Seen(time.monotonic(), environment, usage, notices)
        if changes == self._changes:
            self._last[language] = seen
        return seen

    async def _known(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """What is not known is null, and hides nothing of the rest."""
        try:
            return await asked
        except (Refused, DureError):
            return None


def _moved(seen: _Seen) -> str | None:
    """The portal's time now: what it said then, and what has passed since."""
    told = seen.usage.get("at") if isinstance(seen.usage, dict) else None
    if not isinstance(told, str):
        return None
    return (datetime.fromisoformat(told) + timedelta(seconds=time.monotonic() - seen.at)).isoformat()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None

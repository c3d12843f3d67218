"""The API server, asked with plain JSON by the client library's own connection and credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient

from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterChanged, ClusterRefused, QuotaExceeded
from dure_hub.backends.kubernetes.quotas import exceeded

CONNECT_S = 10.0
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=CONNECT_S)
SILENCE_S = 90.0
"""Longest silence of a watch, since a bookmark comes every minute: for so long, what is followed may be old."""
PAGE = 500
"""Objects of a list that are asked for at once."""
TRIES = 3
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
MANAGER = "dure"
"""Whose the fields are that are applied."""


class Cluster:
    """One cluster. All methods raise `ClusterAway` where it does not answer, `ClusterRefused` where it says no."""

    def __init__(self, connect: Callable[[], Awaitable[ApiClient]]) -> None:
        self._connect = connect
        self._clients: dict[asyncio.AbstractEventLoop, ApiClient] = {}

    async def _client(self) -> ApiClient:
        """That of this event loop: a connection belongs to one."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for over in [one for one in self._clients if one.is_closed()]:
                del self._clients[over]
            self._clients[loop] = await self._connect()
        return self._clients[loop]

    async def close(self) -> None:
        """Let the connections of this event loop go."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """An object, None where there is none."""
        status, content = await self._ask("GET", path, query)
        return None if status == 404 else dict(json.loads(_good(status, content)))

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All objects of a list, page by page, as of one moment."""
        return (await self.all_at(path, **query))[0]

    async def all_at(self, path: str, **query: str) -> tuple[list[dict[str, Any]], str]:
        """The same, and the version that stands for that moment."""
        for _ in range(TRIES):
            found = await self._list(path, query)
            if found is not None:
                return found
        raise ClusterAway(why=f"{path} changes faster than it can be read")

    async def _list(self, path: str, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], str] | None:
        """None where the moment of the first page is forgotten before the last one."""
        found: list[dict[str, Any]] = []
        page = {**query, "limit": str(PAGE)}
        while True:
            status, content = await self._ask("GET", path, page)
            if status == 410 and "continue" in page:
                return None
            answer = json.loads(_good(status, content))
            found += answer["items"]
            page["continue"] = answer["metadata"].get("continue") or ""
            if not page["continue"]:
                return found, str(answer["metadata"]["resourceVersion"])

    async def follow(self, path: str, **query: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What changes (ADDED, MODIFIED, DELETED, BOOKMARK) and the object, until the server ends it.

        Raises `ClusterRefused` where the version it is to begin from is forgotten.
        """
        answer = await self._begin(
            "GET", path, query, timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=SILENCE_S)
        )
        with _told():
            async with answer:
                if answer.status != 200:
                    _good(answer.status, await answer.read())
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ClusterRefused(why=event["object"].get("message", "the watch ended"))
                    yield event["type"], event["object"]

    async def raw(self, path: str, **query: str) -> bytes | None:
        """What is no JSON, as a log; None where there is none."""
        status, content = await self._ask("GET", path, query)
        return None if status == 404 else _good(status, content)

    async def create(self, path: str, body: Mapping[str, Any]) -> bool:
        """Create an object; False where one of its name is there already."""
        status, content = await self._ask("POST", path, {}, body)
        if status == 409 and _reason(content) == "AlreadyExists":
            return False
        _good(status, content)
        return True

    async def answer(self, path: str, body: Mapping[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """What the API server makes of this: the answer to a question, or, `dry`, an object that is not kept."""
        status, content = await self._ask("POST", path, {"dryRun": "All"} if dry else {}, body)
        return dict(json.loads(_good(status, content)))

    async def patch(self, path: str, body: Mapping[str, Any], **query: str) -> bool:
        """Merge this into an object; False where there is none."""
        status, content = await self._ask("PATCH", path, query, body, MERGE)
        if status == 404:
            return False
        _good(status, content)
        return True

    async def apply(self, path: str, body: Mapping[str, Any], *, dry: bool = False) -> None:
        """Make an object, or bring its fields to this, whoever has set them. Strict: no unknown field passes."""
        query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        status, content = await self._ask("PATCH", path, query | ({"dryRun": "All"} if dry else {}), body, APPLY)
        said = str(_said(content).get("message") or "")
        if status == 500 and "typed patch object" in said:  # how it says that a field does not exist
            raise ClusterRefused(why=said)
        _good(status, content)

    async def delete(self, path: str, *, grace_s: int | None = None, uid: str | None = None) -> bool:
        """Delete an object, and only the one of this uid; False where there is none."""
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        status, content = await self._ask("DELETE", path, {}, body)
        if status == 404 or (status == 409 and uid is not None):  # another of its name, which is none of ours
            return False
        _good(status, content)
        return True

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> tuple[int, bytes]:
        answer = await self._begin(method, path, query, body, content)
        with _told():
            async with answer:
                return answer.status, await answer.read()

    async def _begin(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> aiohttp.ClientResponse:
        client = await self._client()
        with _told():
            answer: aiohttp.ClientResponse = await client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json, */*", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=timeout,
            )
            return answer


@contextmanager
def _told() -> Iterator[None]:
    """Whatever keeps an answer from coming is `ClusterAway`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ClusterAway(why=type(error).__name__) from error


def _good(status: int, content: bytes) -> bytes:
    """What a good answer holds; the errors otherwise."""
    if 200 <= status < 300:
        return content
    if status in (429, 500, 502, 503, 504):
        raise ClusterAway(why=f"{status} {_reason(content)}".strip())
    why = str(_said(content).get("message") or status)
    if status == 403 and (full := exceeded(why)) is not None and full.waits:
        raise QuotaExceeded(why=why, quota=full.quota, said=full.why)
    kind = ClusterChanged if status == 409 and _reason(content) == "Conflict" else ClusterRefused
    raise kind(why=why)


def _reason(content: bytes) -> str:
    return str(_said(content).get("reason") or "")


def _said(content: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

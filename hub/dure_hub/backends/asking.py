"""Asking a person's server something: it is theirs, so its answer may be anything, of any length, or none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from dure_hub.backends.base import Handle, ServerBackend

log = logging.getLogger(__name__)

_LONGEST = 1 << 20
_CONNECT_S = 2.0
_READ_S = 3600.0
"""No bound of ours: whoever asks has one."""
GUARD_S = 10.0
"""How long a server may take to say whether it watches its guests."""


@dataclass(frozen=True)
class Door:
    """Where a server answers us, and its own token, with which it knows who asks."""

    address: str
    token: str


class AskedServers(ServerBackend):
    """Servers that answer us by HTTP, with their own token, at a door that the backend knows."""

    @abstractmethod
    async def door(self, handle: Handle) -> Door | None:
        """Of one that runs: once it has ended, its address may be somebody else's, who must not see its token."""

    async def before_stop(
        self, handle: Handle, reason: str, ends_at: str, hook_s: float
    ) -> Mapping[str, Any] | None:
        """Nothing is sent once it has ended."""
        body = {"reason": reason, "ends_at": ends_at, "hook_seconds": hook_s}
        door = await self.door(handle)
        return None if door is None else await post(f"{door.address}/before-stop", door.token, body)

    async def watches_guests(self, handle: Handle) -> bool:
        """As it says within `GUARD_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GUARD_S):
                door = await self.door(handle)
                found = None if door is None else await get(f"{door.address}/guests", door.token)
                return found is not None and found.get("watching") is True
        return False


async def post(address: str, token: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON object that it answers; None where it has no such address, breaks off, or answers anything else."""
    return await _ask("POST", address, token, body)


async def get(address: str, token: str) -> Mapping[str, Any] | None:
    """As `post`, of what is only read."""
    return await _ask("GET", address, token, None)


async def _ask(verb: str, address: str, token: str, body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    headers = {"Authorization": f"token {token}", "Accept-Encoding": "identity"}
    timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=timeout) as client,
            client.stream(verb, address, json=body, headers=headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                log.info("%s answers %s", address, answer.status_code)
                return None
            said = bytearray()
            async for piece in answer.aiter_raw():
                said += piece
                if len(said) > _LONGEST:
                    log.warning("%s answers more than %s bytes", address, _LONGEST)
                    return None
    except httpx.HTTPError as error:
        log.info("%s does not answer: %r", address, error)
        return None
    return _object(said, address)


def _object(said: bytearray, address: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        log.info("%s answers no JSON object", address)
        return None
    return found

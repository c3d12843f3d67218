"""Asking a person's server something: it is theirs, so its answer may be anything, of any length, or none."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx

log = logging.getLogger(__name__)

_LONGEST = 1 << 20
_CONNECT_S = 2.0
_READ_S = 3600.0
"""No bound of ours: whoever asks has one."""


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

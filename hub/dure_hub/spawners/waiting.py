"""Waiting until a new server answers, so that the hub's own slower look succeeds the first time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

from dure.errors import DureError, Text

QUICK_S = 0.01
SLOW_S = 0.05
LOOK_S = 0.5
ANSWER_S = 5.0


class ServerEnded(DureError):
    """It ended before it answered."""

    code, status = "server_ended", 500
    message: ClassVar[Text] = {
        "en": "The server ended with code {exit_code} before it answered. Its last words: {last}",
        "ko": "서버가 응답하기 전에 코드 {exit_code}(으)로 종료되었습니다. 마지막 로그: {last}",
    }
    next_step: ClassVar[Text] = {
        "en": "Try once more; if it ends again, show an administrator this sentence.",
        "ko": "한 번 더 시도하고, 또 종료되면 이 문장을 관리자에게 보여 주세요.",
    }


class ServerSilent(DureError):
    """It runs, but does not answer in time."""

    code, status = "server_silent", 504
    message: ClassVar[Text] = {
        "en": "The server did not answer within {seconds} s and was stopped.",
        "ko": "서버가 {seconds}초 안에 응답하지 않아 중지했습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again; on a slow disk an administrator can raise `http_timeout_s`.",
        "ko": "다시 시도하세요. 디스크가 느리면 관리자가 `http_timeout_s`를 늘릴 수 있습니다.",
    }


async def until_answers(
    host: str,
    port: int,
    path: str,
    *,
    look: Callable[[], Awaitable[None]],
    timeout_s: float,
    own: Callable[[], Awaitable[bool]] | None = None,
) -> None:
    """Return once `path` gives any HTTP answer below 500. `look` is awaited now and then and may raise.

    An answer of which `own` says that it is not the server's does not count.
    """
    loop = asyncio.get_running_loop()
    began = looked = loop.time()
    while not (await _answers(host, port, path) and (own is None or await own())):
        now = loop.time()
        if now - began > timeout_s:
            raise ServerSilent(seconds=int(timeout_s))
        if now - looked > LOOK_S:
            looked = now
            await look()
        await asyncio.sleep(QUICK_S if now - began < 1 else SLOW_S)


async def _answers(host: str, port: int, path: str) -> bool:
    """One plain request on a fresh connection; cheaper than a client, since it is asked 100 times a second."""
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = await asyncio.wait_for(reader.readline(), ANSWER_S)
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()
    words = status.split()
    return len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() and int(words[1]) < 500

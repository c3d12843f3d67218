"""The only way out for notices, in processes of their own: to addresses that people chose, and by mail."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dure_hub.settings import Settings

log = logging.getLogger(__name__)

CHECK_S, SEND_S = 20.0, 60.0
"""How long looking at an address may take, and sending all messages of one call."""
NO_ANSWER = "no_answer"
FOR_GOOD = ("bad_address", "scheme_not_allowed", "address_not_allowed", "too_late", "no_mail_address")
"""What trying again does not change."""
_LONGEST = 1 << 16
_CHECKS_AT_ONCE = 2  # each is a process, and anybody may ask for one


@dataclass(frozen=True)
class Message:
    """Plain text; `to` is for mail by the portal's own server."""

    id: str
    title: str
    body: str
    to: str | None = None


@dataclass(frozen=True)
class Checked:
    """What may be shown of an address, or why it is none (`error`)."""

    scheme: str = ""
    host: str | None = None
    error: str | None = None


class NoticeApi:
    """Sends, and says what came of it. It remembers nothing, and tries nothing twice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._checking = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def check(self, url: str) -> Checked:
        """Whether notices may be sent to this address. Nothing is sent."""
        async with self._checking:
            answers = await self._ask({"do": "check", "url": url}, CHECK_S)
        if not answers:
            return Checked(error="bad_address")
        said = answers[0]
        return Checked(str(said.get("scheme") or ""), said.get("host"), said.get("error"))

    async def send(self, url: str, messages: Sequence[Message]) -> dict[str, str | None]:
        """What came of each, by id: None is sent, else a code. Within a minute: what was not reached by then did
        not answer."""
        return await self._send(url, messages, anywhere=False)

    async def mail(self, messages: Sequence[Message]) -> dict[str, str | None]:
        """The same by the portal's own mail server, which may be inside."""
        file = self._settings.mail_url_file
        if file is None:
            return {one.id: "no_mail_address" for one in messages}
        try:
            url = (await asyncio.to_thread(file.read_text)).strip()
        except OSError:
            log.exception("the address of the mail server cannot be read")
            return {one.id: NO_ANSWER for one in messages}
        return await self._send(url, messages, anywhere=True)

    async def _send(self, url: str, messages: Sequence[Message], *, anywhere: bool) -> dict[str, str | None]:
        asked = {"do": "send", "url": url, "messages": [asdict(one) for one in messages]}
        answers = await self._ask(asked, SEND_S, anywhere=anywhere)
        said = {str(one.get("id")): one.get("error") for one in answers}
        return {one.id: said.get(one.id, NO_ANSWER) for one in messages}

    async def _ask(
        self, asked: Mapping[str, Any], limit_s: float, *, anywhere: bool = False
    ) -> list[dict[str, Any]]:
        """The lines that the process wrote until it ended, or was ended."""
        schemes = [*self._settings.notice_schemes, *(("mailto", "mailtos") if anywhere else ())]
        more = {"schemes": schemes, "networks": self._settings.notice_networks, "anywhere": anywhere}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-B", "-m", "dure_hub.noticechild"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},  # no proxy, no secret
            limit=_LONGEST,
        )
        lines: list[bytes] = []
        try:
            async with asyncio.timeout(limit_s):
                await self._exchange(process, json.dumps({**asked, **more}).encode(), lines)
        except TimeoutError:
            log.warning("sending notices took more than %s s and was ended", limit_s)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    async def _exchange(self, process: asyncio.subprocess.Process, text: bytes, lines: list[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(text)
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            log.warning("the process that sends notices ended before it read what to send")
        process.stdin.close()
        while line := await process.stdout.readline():
            lines.append(line)
        await process.wait()

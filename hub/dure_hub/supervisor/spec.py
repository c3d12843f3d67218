"""A service as data: what to run, when it counts as ready, how it may be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Service:
    """One process the supervisor keeps alive.

    `keep`: it outlives a killed supervisor and is adopted by the next, if its `fingerprint` is the same then.
    `title` is what people read. Times are in seconds.
    """

    name: str
    title: str
    command: Sequence[str]
    ready: Ready
    environment: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[str] = ()
    """Services that must be ready before this one starts."""
    essential: bool = True
    """Whether the portal is up only with it. One that is not is neither waited for nor able to fail a start."""
    keep: bool = False
    fingerprint: str = ""
    stop_grace_s: float = 10
    start_limit_s: float = 120


async def http_status(address: str, path: str, timeout_s: float = 3) -> int | None:
    """Status of `GET path` at `host:port` or `unix:/socket`; None where nothing answers as HTTP in time.

    Twenty lines instead of a client: a probe runs several times a second while everything else starts.
    """
    try:
        async with asyncio.timeout(timeout_s):
            if address.startswith("unix:"):
                reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
            else:
                host, _, port = address.rpartition(":")
                reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                words = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None


def listens(path: Path) -> Ready:
    """A readiness check: somebody takes connections at this Unix socket."""

    async def check() -> bool:
        try:
            async with asyncio.timeout(3):
                _, writer = await asyncio.open_unix_connection(path)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return check


def answers(address: str, path: str, status: int = 200) -> Ready:
    """A readiness check: `GET path` gives `status`."""

    async def check() -> bool:
        return await http_status(address, path) == status

    return check

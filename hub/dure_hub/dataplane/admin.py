"""Envoy's admin interface over its Unix socket: whether it lives, what it took, what it counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from dure.errors import NotReady
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.render import ROUTES
from dure_hub.settings import Settings

ACCEPT_TIMEOUT_S = 20.0
ACCEPT_POLL_S = 0.002
LOOKS = 10
ANSWER_TIMEOUT_S = 10.0

CLUSTERS = "cluster_manager.cds"
ROUTE_TABLE = f"http.front.rds.{ROUTES}"


class Admin:
    """Questions to one Envoy. Each raises httpx.TransportError where no Envoy answers."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, socket: Path) -> AsyncIterator[Admin]:
        """An interface for one piece of work; opening it asks nothing yet."""
        transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://envoy", timeout=ANSWER_TIMEOUT_S, trust_env=False
        ) as client:
            yield cls(client)

    async def live(self) -> bool:
        """Whether it serves: started, and not draining."""
        answer = await self._client.get("/ready")
        return answer.status_code == 200

    async def version(self, what: str) -> str:
        """The version in force of `CLUSTERS` or `ROUTE_TABLE`. Texts are few, so this is the cheap question."""
        values = await self.statistics(f"^{what}\\.version_text$", "TextReadouts")
        return values.get(f"{what}.version_text", "").strip('"')

    async def refusals(self, what: str) -> int:
        """How often a version was refused since it started."""
        values = await self.statistics(f"^{what}\\.update_rejected$", "Counters")
        return int(values.get(f"{what}.update_rejected", "0"))

    async def statistics(self, pattern: str, kind: str = "All") -> dict[str, str]:
        """Statistics of one kind whose names match, as Envoy writes them."""
        answer = await self._client.get("/stats", params={"filter": pattern, "type": kind})
        answer.raise_for_status()
        pairs = (line.partition(": ") for line in answer.text.splitlines())
        return {name: value for name, separator, value in pairs if separator}

    async def before(self, what: str) -> int | None:
        """Refusals before a write, to compare with; None where no Envoy runs."""
        with _away():
            return await self.refusals(what)
        return None

    async def accepted(self, what: str, version: str, before: int | None) -> bool:
        """True once `version` is in force, and where no Envoy runs; False where it is refused."""
        deadline = time.monotonic() + ACCEPT_TIMEOUT_S
        with _away():
            while before is not None:
                for _ in range(LOOKS):
                    if await self.version(what) == version:
                        return True
                    await asyncio.sleep(ACCEPT_POLL_S)
                if await self.refusals(what) > before:
                    return False
                if time.monotonic() > deadline:
                    raise NotReady(part="Envoy")
        return True


@contextmanager
def _away() -> Iterator[None]:
    """An Envoy that is gone takes the files at its next start; one that is silent is another matter."""
    try:
        yield
    except httpx.TimeoutException as silent:
        raise NotReady(part="Envoy") from silent
    except httpx.TransportError:
        return


async def alive(settings: Settings) -> bool:
    """Whether Envoy is LIVE, asked on its admin socket."""
    async with Admin.open(Files(settings.folder).socket) as admin:
        try:
            return await admin.live()
        except httpx.TransportError:
            return False

"""Envoy's admin interface, over its Unix socket: whether it lives, what it took, what it counted.

Asked several times for each new route while a person waits, so it is a bare exchange: one connection, one
question, and Envoy closes it. A general client costs more than all the rest of a publication.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import quote

from dure.errors import NotReady
from dure_hub.dataplane.asking import CLUSTERS, ROUTES
from dure_hub.dataplane.render import ROUTES as TABLE

ANSWER_TIMEOUT_S = 10.0
ACCEPT_POLL_S = 0.001

_NAMES = {CLUSTERS: "cluster_manager.cds", ROUTES: f"http.front.rds.{TABLE}"}
"""Under which of its statistics Envoy tells of each kind."""


TOKEN_HEADER = "x-dure-token"  # noqa: S105 - its name
"""What an Envoy elsewhere asks for before it says what it has counted."""


class EnvoyAway(Exception):
    """No Envoy runs, or it went while it was asked."""


class Admin:
    """Questions to one Envoy. Each raises EnvoyAway where none runs, and NotReady where it stays silent."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._more = ""

    async def live(self) -> bool:
        """Whether it serves: started, and not draining."""
        status, _ = await self._get("/ready")
        return status == 200

    async def version(self, kind: str) -> str:
        """The version in force of `CLUSTERS` or `ROUTES`. Texts are few, so this is the cheap question."""
        what = _NAMES[kind]
        values = await self.statistics(f"^{what}\\.version_text$", "TextReadouts")
        return values.get(f"{what}.version_text", "").strip('"')

    async def accepted(self, kind: str, version: str, within_s: float) -> bool:
        """Whether `version` came into force within this time."""
        deadline = time.monotonic() + within_s
        while await self.version(kind) != version:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(ACCEPT_POLL_S)
        return True

    async def statistics(self, pattern: str, kind: str = "All") -> dict[str, str]:
        """Statistics of one kind whose names match, as Envoy writes them."""
        _, text = await self._get(f"/stats?type={kind}&filter={quote(pattern, safe='')}")
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value for name, separator, value in pairs if separator}

    async def histograms(self, pattern: str) -> dict[str, dict[float, float]]:
        """Quantiles (in percent) of the histograms whose names match, over all that Envoy has counted since it
        started. It gathers them every few seconds. One that has counted nothing is missing, or has no quantiles.
        """
        _, text = await self._get(f"/stats?format=json&type=Histograms&filter={quote(pattern, safe='')}")
        return {
            one["name"]: {
                quantile: value["cumulative"]
                for quantile, value in zip(part["histograms"]["supported_quantiles"], one["values"], strict=True)
                if value["cumulative"] is not None
            }
            for part in json.loads(text)["stats"]  # none where nothing matches
            for one in part["histograms"]["computed_quantiles"]
        }

    async def _get(self, path: str) -> tuple[int, str]:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                said = await self._exchange(
                    f"GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n{self._more}\r\n".encode()
                )
        except TimeoutError as silent:
            raise NotReady(part="Envoy") from silent
        except OSError as away:
            raise EnvoyAway from away
        head, separator, body = said.partition(b"\r\n\r\n")
        if not separator:
            raise EnvoyAway
        status = int(head.split(maxsplit=2)[1])
        if status not in (200, 503):  # not ready is a 503
            raise EnvoyAway
        chunked = b"transfer-encoding: chunked" in head.lower()
        return status, (_joined(body) if chunked else body).decode()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._socket)

    async def _exchange(self, question: bytes) -> bytes:
        reader, writer = await self._connect()
        try:
            writer.write(question)
            return await reader.read(-1)
        finally:
            writer.close()


class AdminElsewhere(Admin):
    """The part of it that an Envoy elsewhere shows at a port: whether it is ready, and what it has counted."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = host, port
        self._more = f"{TOKEN_HEADER}: {token}\r\n"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._address)


def _joined(body: bytes) -> bytes:
    """A chunked body in one piece."""
    pieces: list[bytes] = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(pieces)

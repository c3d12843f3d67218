"""Model servers as processes of this machine."""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from typing import ClassVar

import httpx

from dure_hub.backends.base import Feature, Handle, Kind, ServingBackend, ServingWork
from dure_hub.backends.embedded import gaps
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import EmbeddedRuns, environment_of, port_of
from dure_hub.settings import Settings

_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares each check the loading of certificates, which plain loopback HTTP never asks for."""


class EmbeddedServing(EmbeddedRuns, ServingBackend):
    """One process a served version, on a loopback port."""

    kind: ClassVar[Kind] = Kind.MODEL

    def __init__(self, settings: Settings, server: str = "dure.server") -> None:
        super().__init__(settings)
        self.server = server
        self.unsupported = {**self.unsupported, **gaps.without_torch(Feature.SERVING)}

    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """As the interface says."""
        self.refuse(Feature.SERVING)
        model = ["--model", str(work.model), "--name", work.name, "--version", str(work.version)]
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                command=[sys.executable, "-m", self.server, *model, "--port", "{port}"],
                cwd=work.folder,
                environment={"PYTHONUNBUFFERED": "1", **environment_of(work)},
                port=True,
                shown=(work.model,),
                cores=work.cores,
                memory_mb=work.memory_mb,
            )
        )

    def address(self, handle: Handle) -> tuple[str, int]:
        """Always on loopback: requests come through Envoy."""
        return "127.0.0.1", port_of(handle)

    async def ready(self, handle: Handle) -> bool:
        """Whether `GET /ready` answers 200 within a second."""
        url = f"http://127.0.0.1:{port_of(handle)}/ready"
        async with httpx.AsyncClient(trust_env=False, verify=_PLAIN, timeout=1.0) as client:
            try:
                return (await client.get(url)).status_code == 200
            except httpx.HTTPError:
                return False

"""People's servers as processes of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from dure_hub.backends.asking import AskedServers, Door
from dure_hub.backends.base import Handle, Kind, Phase, ServerWork
from dure_hub.backends.embedded import gaps
from dure_hub.backends.embedded.ports import is_listened_by
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import EmbeddedRuns, environment_of, places_of, port_of
from dure_hub.backends.embedded.warm import PROGRAM, WarmStarts
from dure_hub.settings import Settings


class EmbeddedServers(EmbeddedRuns, AskedServers):
    """Yields the handle, port included, once the process is there; whoever starts it waits for its answer."""

    kind: ClassVar[Kind] = Kind.SERVER

    def __init__(self, settings: Settings, program: str = PROGRAM) -> None:
        super().__init__(settings)
        self.unsupported = {**self.unsupported, **gaps.NO_CONTAINERS}
        self.runner.warm = WarmStarts(settings, program)

    def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        """As the interface says."""
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                command=work.command,
                cwd=work.folder,
                environment=environment_of(work),
                port=True,
                secret=work.api_token,
                base_path=work.environment.get("JUPYTERHUB_SERVICE_PREFIX", ""),
                own=places_of(work.folder, environment=work.environment),
                cores=work.cores,
                memory_mb=work.memory_mb,
                shared=work.shared,
            )
        )

    def address(self, handle: Handle) -> tuple[str, int]:
        """Always on loopback: people come through Envoy."""
        return "127.0.0.1", port_of(handle)

    async def is_own(self, handle: Handle) -> bool:
        """By the user who listens on its port, where people have accounts."""
        return await asyncio.to_thread(self._is_own, handle)

    def _is_own(self, handle: Handle) -> bool:
        record = self.runner.folder(handle.lease).read("spec") or {}
        confined = record.get("confined")
        return confined is None or is_listened_by(int(record["port"]), confined["uid"])

    def recall(self, lease: str) -> tuple[Handle, str] | None:
        """From the run folder (mode 600). Reads three small files, no process."""
        handle = self.runner.handle(lease)
        record = self.runner.folder(lease).read("spec")
        return (handle, str(record["secret"])) if handle and record else None

    async def door(self, handle: Handle) -> Door | None:
        """Of one that runs: once it has ended, its port may be somebody else's, who must not see its token."""
        record = await asyncio.to_thread(self.runner.folder(handle.lease).read, "spec")
        if not record or not record.get("base_path") or (await self.poll(handle)).phase is not Phase.RUNNING:
            return None
        if record.get("confined") is not None and not await self.is_own(handle):
            return None
        base = str(record["base_path"]).rstrip("/")
        return Door(f"http://127.0.0.1:{int(record['port'])}{base}/dure", str(record["secret"]))

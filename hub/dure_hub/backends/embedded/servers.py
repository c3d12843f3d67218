"""People's servers as processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dure_hub.backends import asking
from dure_hub.backends.base import Handle, Kind, Phase, ServerBackend, ServerWork
from dure_hub.backends.embedded.ports import is_listened_by
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import EmbeddedRuns, environment_of, places_of, port_of
from dure_hub.backends.embedded.warm import PROGRAM, WarmStarts
from dure_hub.settings import Settings

GUARD_S = 10.0
"""How long a server may take to say whether it watches its guests."""


@dataclass(frozen=True)
class _Door:
    """Where a server answers us, and its own token, with which it knows who asks."""

    address: str
    token: str


class EmbeddedServers(EmbeddedRuns, ServerBackend):
    """Yields the handle, port included, once the process is there; whoever starts it waits for its answer."""

    kind: ClassVar[Kind] = Kind.SERVER

    def __init__(self, settings: Settings, program: str = PROGRAM) -> None:
        super().__init__(settings)
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

    async def before_stop(
        self, handle: Handle, reason: str, ends_at: str, hook_s: float
    ) -> Mapping[str, Any] | None:
        """Over loopback, with the token that its record holds; nothing is sent once it has ended."""
        body = {"reason": reason, "ends_at": ends_at, "hook_seconds": hook_s}
        door = await self._door(handle)
        return None if door is None else await asking.post(f"{door.address}/before-stop", door.token, body)

    async def watches_guests(self, handle: Handle) -> bool:
        """Over loopback, too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GUARD_S):
                door = await self._door(handle)
                found = None if door is None else await asking.get(f"{door.address}/guests", door.token)
                return found is not None and found.get("watching") is True
        return False

    async def _door(self, handle: Handle) -> _Door | None:
        """Of one that runs: once it has ended, its port may be somebody else's, who must not see its token."""
        record = await asyncio.to_thread(self.runner.folder(handle.lease).read, "spec")
        if not record or not record.get("base_path") or (await self.poll(handle)).phase is not Phase.RUNNING:
            return None
        if record.get("confined") is not None and not await self.is_own(handle):
            return None
        base = str(record["base_path"]).rstrip("/")
        return _Door(f"http://127.0.0.1:{int(record['port'])}{base}/dure", str(record["secret"]))

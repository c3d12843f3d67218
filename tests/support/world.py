"""A portal's operations without its processes: a real store, a clock in the hand, small doubles around."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from dure_hub.backends.base import (
    Device,
    Handle,
    Inventory,
    InventoryBackend,
    Kind,
    LogPiece,
    Measures,
    Phase,
    Seen,
    ServerBackend,
    ServerWork,
)
from dure_hub.hubapi import HubApi
from dure_hub.operations.environment_runs import EnvironmentRuns
from dure_hub.operations.environments import Environments
from dure_hub.operations.offers import Offers
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.reconcile import Reconciler
from dure_hub.operations.turns import Turns
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate


@dataclass
class HandClock:
    """Stands until it is moved."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        """The same as a clock that only counts."""
        return self.now.timestamp()

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def gpus(number: int, model: str = "NVIDIA H100") -> list[Device]:
    """Devices with made-up UUIDs."""
    return [Device(f"GPU-{model}-{n}", model, 81920) for n in range(number)]


class FixedInventory(InventoryBackend):
    """A place of any size."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.measures = Measures()

    async def look(self) -> Inventory:
        return self.inventory

    async def measure(self) -> Measures:
        return self.measures


class MemoryServers(ServerBackend):
    """Servers that are rows in a dictionary: what the reconciler sees is what a test puts there."""

    def __init__(self) -> None:
        self.there: dict[str, Seen] = {}
        self.stopped: list[str] = []
        self.forgotten: list[str] = []
        self.stubborn = False
        self.broken = False

    def put(self, lease: str, phase: Phase = Phase.RUNNING, **more: Any) -> Handle:
        """Something of this lease is there."""
        handle = Handle(lease, Kind.SERVER, {"pid": 1})
        self.there[lease] = Seen(handle, phase, **more)
        return handle

    async def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        yield self.put(work.lease)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        self.stopped.append(handle.lease)
        if not self.stubborn:
            self.there.pop(handle.lease, None)

    async def seen(self) -> Sequence[Seen]:
        if self.broken:
            raise OSError("cannot look")
        return list(self.there.values())

    async def poll(self, handle: Handle) -> Seen:
        return self.there.get(handle.lease, Seen(handle, Phase.GONE))

    async def forget(self, handle: Handle) -> None:
        self.forgotten.append(handle.lease)
        self.there.pop(handle.lease, None)

    async def log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        return LogPiece("", offset, offset)

    async def keep_log(self, handle: Handle, target: Path) -> None:
        await asyncio.to_thread(target.touch)

    async def tail(self, handle: Handle, limit: int) -> str:
        return ""

    def address(self, handle: Handle) -> tuple[str, int]:
        return "127.0.0.1", 1

    def recall(self, lease: str) -> tuple[Handle, str] | None:
        return None


@dataclass
class MemoryHub:
    """JupyterHub's REST API as far as the portal uses it, in the shapes JupyterHub 6.1 answers with."""

    away: bool = False
    refusal: tuple[int, str] | None = None
    failure: str | None = None
    hold: bool = False
    stops_slowly: bool = False
    users: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def put(
        self,
        user: str,
        name: str = "",
        ready: bool = True,
        pending: str | None = None,
        last_activity: str | None = None,
    ) -> None:
        """The hub knows this server as active; what it says of its use is by its own clock."""
        self.users.setdefault(user, {})[name] = {
            "name": name,
            "ready": ready,
            "pending": pending,
            "last_activity": last_activity,
        }

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        path = request.url.path.removeprefix("/hub/api")
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, path, body))
        if path == "/users":
            return httpx.Response(200, json=[{"name": u, "servers": s} for u, s in self.users.items()])
        _, _, user, *rest = path.split("/")
        servers = self.users.setdefault(user, {})
        name = rest[1] if rest[:1] == ["servers"] else ""
        if path.endswith("/progress"):
            return self._progress(servers, name)
        if request.method == "POST":
            if self.refusal:
                return httpx.Response(
                    self.refusal[0], json={"status": self.refusal[0], "message": self.refusal[1]}
                )
            if self.failure is None:
                self.put(user, name, ready=not self.hold, pending="spawn" if self.hold else None)
            return httpx.Response(201)
        if request.method == "DELETE" and self.stops_slowly:
            return httpx.Response(202)
        if request.method == "DELETE":
            servers.pop(name, None)
            return httpx.Response(204)
        return httpx.Response(200, json={"name": user, "servers": servers})

    def _progress(self, servers: dict[str, Any], name: str) -> httpx.Response:
        event: dict[str, Any] = {"progress": 100, "ready": True, "message": "Server ready"}
        if self.failure is not None:
            event = {"progress": 100, "failed": True, "message": self.failure}
        elif self.hold or name not in servers:
            return httpx.Response(400, json={"message": "is not starting..."})
        return httpx.Response(200, text=f"\n\ndata: {json.dumps(event)}\n\n")


class World:
    """Store, clock, servers, hub and the operations on environments."""

    def __init__(
        self,
        folder: Path,
        inventory: Inventory | None = None,
        servers: MemoryServers | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(data=folder, instance="0" * 12, memory_reserved_mb=0, **settings)
        self.settings.folder.create()
        (self.settings.folder.secrets / "portal-token").write_text("secret of the portal")
        migrate(self.settings)
        self.clock = HandClock()
        self.store = Store(database_url(self.settings))
        self.place = FixedInventory(inventory or Inventory(cpu_cores=2, memory_mb=4096))
        self.profiles = Profiles(self.settings, self.store, self.clock, self.place)
        self.servers = servers or MemoryServers()
        self.jupyterhub = MemoryHub()
        self.hub = HubApi(self.settings, httpx.MockTransport(self.jupyterhub.answer))
        self.runs = EnvironmentRuns(
            self.settings, self.store, self.clock, self.servers, self.hub, self.clock.seconds, self.place.measure
        )
        self.environments = Environments(self.store, self.clock, self.profiles, self.runs)
        self.turns = Turns(self.environments, self.store, self.clock, self.profiles)
        self.offers = Offers(self.store, self.clock, self.profiles)
        self.reconciler = Reconciler(self.settings, self.store, self.clock, self.profiles, [self.runs])

    async def close(self) -> None:
        """End background work and close the files."""
        await self.reconciler.close()
        await self.environments.close()
        await self.hub.close()
        self.store.close()

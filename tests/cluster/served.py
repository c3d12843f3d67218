"""A portal's operations on a cluster, the real spawner, and of a hub only its API: nobody logs in here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from jupyterhub import orm

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import ServerWork
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.inventory import ClusterInventory
from dure_hub.backends.kubernetes.mirror import PODS, Mirror
from dure_hub.backends.kubernetes.servers import KubernetesServers
from dure_hub.hubapi import HubApi
from dure_hub.operations import Operations
from dure_hub.operations.environment_runs import EnvironmentRuns
from dure_hub.operations.environments import Environments
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.reconcile import Reconciler
from dure_hub.services.why import told
from dure_hub.spawners.leased import LeasedSpawner
from dure_hub.spawners.refusal import Refused
from dure_hub.store import Store, database_url, system_clock
from tests.support.hub import hub_settings
from tests.support.world import MemoryHub

WAIT_S = 150.0


class Spawned(LeasedSpawner):
    """The spawner without the hub's database: its state is what would be in there."""

    kept: dict[str, Any]

    async def prepare(self) -> ServerWork:
        """As little as a pod can be made of."""
        granted = self._granted()
        return ServerWork(
            lease=granted.lease,
            owner=self.user.name,
            folder=Path("/"),
            environment={},
            secrets={"JUPYTERHUB_API_TOKEN": self.api_token},
            devices=granted.devices,
            cores=granted.cores,
            memory_mb=granted.memory_mb,
            node=granted.node,
            team=granted.team,
            project=granted.project,
            command=["/program"],
        )

    async def get_url(self) -> str:
        """As the spawner of pods says it."""
        return await self.located_url()

    def _remember(self) -> None:
        self.kept.update(self.get_state())

    def _revoke(self) -> None:
        """There is no token here."""


@dataclass
class Hub(MemoryHub):
    """Starts and stops what it is asked to, as JupyterHub does; `kill` leaves all of it as it is."""

    site: Site = field(default=cast(Any, None))
    starting: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    spawners: dict[str, Spawned] = field(default_factory=dict)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        path = request.url.path.removeprefix("/hub/api").split("/")
        if self.away or len(path) < 4:
            return await super().answer(request)
        user, task = path[2], self.starting.get(path[2])
        if request.method == "POST":
            if task is None or task.done():
                options = json.loads(request.content)["user_options"]
                self.put(user, ready=False, pending="spawn")
                self.starting[user] = asyncio.create_task(self._spawn(user, options))
            return httpx.Response(202)
        if path[-1] == "progress" and task is not None:
            await asyncio.wait({task})
            if self.away:
                raise httpx.ReadError("it was killed", request=request)
            ready = self.users.get(user, {}).get("", {}).get("ready")
            event = {"ready": True} if ready else {"failed": True, "message": "Spawn failed: it was refused"}
            return httpx.Response(200, text=f"data: {json.dumps(event)}\n\n")
        if request.method == "DELETE" and user in self.spawners:
            await self._end(user)
            return httpx.Response(204)
        return await super().answer(request)

    def spawner(self, user: str) -> Spawned:
        """One of this person's, as the hub makes it."""
        made = Spawned.using(cast(Operations, self.site))(hub_connect_url="http://127.0.0.1:8081")
        made.user = SimpleNamespace(
            name=user, escaped_name=user, url=f"/user/{user}/", admin=False, groups=self.site.groups(user)
        )
        server = orm.Server(proto="http", ip="", port=0, cookie_name="x", base_url=f"/user/{user}/")
        made.orm_spawner = SimpleNamespace(name="", server=server, state=None)
        made.api_token, made.kept = new_id(), self.states.setdefault(user, {})
        self.spawners[user] = made
        return made

    async def _spawn(self, user: str, options: dict[str, str]) -> None:
        spawner = self.spawner(user)
        spawner.user_options = options
        try:
            await spawner.run_pre_spawn_hook()
            await spawner.start()
        except Refused as error:
            self.refusals.append((user, error.headers["X-Dure-Code"]))
            await self._end(user)
            return
        self.put(user, ready=True)

    async def _end(self, user: str) -> None:
        await self.spawners[user].stop()
        await self.spawners[user].run_post_stop_hook()
        self.states.pop(user, None)
        self.users.get(user, {}).pop("", None)

    async def kill(self) -> None:
        """It is gone in the midst of what it does."""
        self.away = True
        for task in self.starting.values():
            task.cancel()
        await asyncio.gather(*self.starting.values(), return_exceptions=True)
        self.starting.clear()
        self.spawners.clear()
        self.users.clear()

    async def restart(self) -> None:
        """The next one looks at everything that the last one had begun, as JupyterHub does before it serves."""
        for user, state in list(self.states.items()):
            spawner = self.spawner(user)
            spawner.load_state(state)
            if await spawner.poll() is None:
                await spawner.get_url()
            if spawner.handle is not None and "ip" in spawner.handle.where:
                self.put(user, ready=True)
            else:
                await self._end(user)
        self.away = False


class Site:
    """All that a portal does with servers, on this cluster."""

    def __init__(self, cluster: Cluster, folder: Path, teams: dict[str, str], **settings: Any) -> None:
        made = {"server_image": "localhost/nothing:1", "home_size_gb": 0, **settings}
        self.settings = hub_settings(folder, backend="kubernetes", **made)
        self.teams = teams
        self.clock = system_clock(None)
        pods = Mirror(cluster, PODS)
        self.servers = KubernetesServers(self.settings, cluster, pods)
        homes = self.settings.namespace_dev if self.settings.home_size_gb else None
        self.inventory = ClusterInventory(cluster, self.settings.instance, pods=pods, homes_in=homes)
        self.store = Store(database_url(self.settings))
        self.profiles = Profiles(self.settings, self.store, self.clock, self.inventory)
        self.jupyterhub = Hub(site=self)
        self.hub = HubApi(self.settings, httpx.MockTransport(self.jupyterhub.answer))
        self.runs = EnvironmentRuns(self.settings, self.store, self.clock, self.servers, self.hub)
        self.environments = Environments(self.store, self.clock, self.profiles, self.runs)
        self.shares = SimpleNamespace(started=_nothing)
        self.reconciler = Reconciler(self.settings, self.store, self.clock, self.profiles, [self.runs])

    def groups(self, user: str) -> list[SimpleNamespace]:
        """The hub's groups of somebody."""
        return [SimpleNamespace(name=self.teams[user])]

    def person(self, user: str) -> Person:
        """Somebody, who has one team."""
        return Person(user, teams=frozenset({self.teams[user]}), team=self.teams[user])

    async def ask(self, user: str, profile: str) -> wire.Environment:
        """A server of theirs."""
        ask = wire.EnvironmentRequest(id=new_id(), name="default", profile=profile, team=self.teams[user])
        return await self.environments.request(self.person(user), ask)

    async def seen(self, user: str) -> wire.Environment:
        """What they see of it."""
        return told(await self.environments.get(self.person(user), "default"))

    async def phases(self, *users: str) -> dict[str, str]:
        """How far everybody's is."""
        return {user: (await self.seen(user)).phase for user in users or self.teams}

    async def until(self, users: dict[str, str], also: Callable[[], bool] = lambda: True) -> None:
        """Look as the portal does, until everybody's server is in this phase."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while True:
            await self.reconciler.look()
            found = await self.phases(*users)
            if found == users and also():
                return
            said = [(user, (await self.seen(user)).reason) for user in users]
            late = asyncio.get_running_loop().time() > deadline
            assert not late, f"{found} and not {users}; {said}; {self.jupyterhub.refusals}"
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """End what works in the background."""
        await self.jupyterhub.kill()
        await self.reconciler.close()
        await self.environments.close()
        await self.hub.close()
        self.inventory.close()
        self.store.close()


async def _nothing(*_server: object) -> None:
    """Nobody is a guest here."""

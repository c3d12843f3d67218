"""JupyterHub's proxy interface over the data plane. The supervisor runs Envoy; the hub only adds routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.proxy import Proxy
from traitlets import Instance, Unicode, default

from dure.errors import BadRequest
from dure_hub.dataplane import Cluster, Dataplane, Fragment, Route
from dure_hub.policies.naming import person_label
from dure_hub.settings import load_settings

Edit = Callable[[Fragment], Fragment]
FRAGMENT = "hub"


class EnvoyProxy(Proxy):  # type: ignore[misc] # JupyterHub has no types
    """Keeps the hub's routes in the fragment `hub`, and tells the hub of no others.

    The hub deletes routes that it does not know, so it must not see those of endpoints and services. Routes
    outlive the hub: they lie in the data folder and in Envoy.
    """

    data = Unicode(help="Data folder of the portal (DURE_DATA).").tag(config=True)
    dataplane = Instance(Dataplane, help="Where routes go; made from `data`.")

    shared_host = Unicode(help="Host of the portal itself where people have hosts of their own.")

    @default("should_start")
    def _never_start(self) -> bool:
        return False

    @default("dataplane")
    def _dataplane_of_data(self) -> Dataplane:
        return Dataplane(load_settings(self.data))

    @default("shared_host")
    def _shared_host_of_data(self) -> str:
        return urlsplit(load_settings(self.data).subdomain_host).hostname or ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._changes = Changes(lambda edit: self.dataplane.change(FRAGMENT, edit))

    async def add_route(self, routespec: str, target: str, data: Mapping[str, Any]) -> None:
        """Route `routespec` and below to `target`; returns once Envoy does."""
        route = make_route(self.validate_routespec(routespec), target, data, self.shared_host)
        await self._changes.make(lambda fragment: with_route(fragment, route))

    async def delete_route(self, routespec: str) -> None:
        """Remove a route; one that is not there is no error.

        It may be one from before people got hosts of their own, or lost them, which could not be added now.
        """
        spec = routespec if routespec.endswith("/") else f"{routespec}/"
        await self._changes.make(lambda fragment: without_route(fragment, spec))

    async def delete_user(self, user: Any, server_name: str = "") -> None:
        """Remove the route of a server that is stopped, once it has saved: for that its pages need the route."""
        if server_name in user.spawners:
            save = getattr(user.spawners[server_name], "save_before_stop", None)
            if save is not None:
                await save()
        await super().delete_user(user, server_name)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """The hub's own routes, as it added them."""
        fragment = await asyncio.to_thread(self.dataplane.read, FRAGMENT)
        return {
            spec: {"routespec": spec, "target": route.data["target"], "data": route.data["data"]}
            for spec, route in _table(fragment).items()
        }


class Changes:
    """Many small changes in few steps: those that come while one is being made are made together next.

    Each waits for its own result. Where a step fails, its changes are made one by one, so that a wrong one
    fails alone.
    """

    def __init__(self, publish: Callable[[Edit], Any]) -> None:
        self._publish = publish
        self._waiting: list[tuple[Edit, asyncio.Future[None]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def make(self, edit: Edit) -> None:
        """Make one change; returns or raises as its publication did."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((edit, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        await done

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            if not await self._step(batch, last=len(batch) == 1):
                for one in batch:
                    await self._step([one], last=True)

    async def _step(self, batch: list[tuple[Edit, asyncio.Future[None]]], *, last: bool) -> bool:
        failure: BaseException | None = None
        try:
            await self._publish(lambda fragment: reduce(lambda made, one: one[0](made), batch, fragment))
        except Exception as error:  # noqa: BLE001 - it is given to whoever waits for it
            if not last:
                return False
            failure = error
        for _, done in batch:
            if done.done():
                continue  # whoever waited was cancelled
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)
        return True


def make_route(spec: str, target: str, data: Mapping[str, Any], shared_host: str = "") -> Route:
    """The route of one of the hub's routespecs. What the hub gave is kept, to be given back unchanged.

    What the hub has at `shared_host` is for every host that is nobody's own.
    """
    url = urlsplit(target)
    if url.scheme != "http" or url.path not in ("", "/"):
        raise BadRequest(field="target", value=target, rule="it is http://host:port")
    address = url.netloc if url.port else f"{url.netloc}:80"
    domain, slash, path = spec.partition("/")
    kept = {"target": target, "data": dict(data)}
    if domain and domain == shared_host:
        domain, kept["routespec"] = "", spec
    return Route(prefix=slash + path, domain=domain, targets=((address, 1),), data=kept)


def with_route(fragment: Fragment, route: Route) -> Fragment:
    """The fragment with this route, in the place of one of the same host and prefix."""
    return _of({**_table(fragment), _spec(route): route})


def without_route(fragment: Fragment, spec: str) -> Fragment:
    """The fragment without the route of this routespec."""
    return _of({key: route for key, route in _table(fragment).items() if key != spec})


def _spec(route: Route) -> str:
    return str(route.data.get("routespec", route.domain + route.prefix))


def _table(fragment: Fragment) -> dict[str, Route]:
    return {_spec(route): route for route in fragment.routes}


def _of(table: Mapping[str, Route]) -> Fragment:
    """Each address is one cluster of its own name: a server that moved is a new cluster, never a changed one."""
    addresses = sorted({name for route in table.values() for name, _ in route.targets})
    return Fragment(
        clusters=tuple(Cluster(address, address) for address in addresses),
        routes=tuple(route for _, route in sorted(table.items())),
    )


def hosts(name: str, domain: str, kind: str) -> str:
    """JupyterHub's `subdomain_hook`: people have hosts of their own, the portal is at the one that all share."""
    return f"{person_label(name)}.{domain}" if kind == "user" else domain

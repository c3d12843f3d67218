"""Publishing: merge, write clusters before routes, and wait until Envoy took them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import httpx

from dure_hub.dataplane.admin import CLUSTERS, ROUTE_TABLE, Admin
from dure_hub.dataplane.bootstrap import why_refused
from dure_hub.dataplane.counting import Counts, count, counted, find_cluster
from dure_hub.dataplane.errors import RoutesRefused
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.fragments import Fragment
from dure_hub.dataplane.render import make_clusters
from dure_hub.settings import Settings


class Dataplane:
    """The route table of one portal. Any process of the portal may hold one; a file lock orders them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = Files(settings.folder)

    def read(self, name: str) -> Fragment:
        """What was last published under this name; an empty fragment if nothing was."""
        return self._files.read(name)

    async def publish(self, name: str, fragment: Fragment) -> None:
        """Put `fragment` in the place of the one of this name, and return once Envoy routes by it.

        Where Envoy is not running the files are written, and its next start takes them. What Envoy refuses
        raises RoutesRefused and leaves everything as it was.
        """
        await self.change(name, lambda _: fragment)

    async def change(self, name: str, edit: Callable[[Fragment], Fragment]) -> None:
        """Read, edit and publish one fragment with no other writer in between."""
        async with self._files.locked():
            before = await asyncio.to_thread(self._files.read_all)
            fragment = edit(before.get(name, Fragment()))
            fragment.check()
            async with Admin.open(self._files.socket) as admin:
                try:
                    await self._put(admin, {**before, name: fragment})
                except RoutesRefused:
                    await asyncio.to_thread(self._restore, before)
                    raise
                # Last: a writer killed half-way leaves a fragment that is behind, and its owner adds it again.
                await asyncio.to_thread(self._files.keep, name, fragment)

    async def counts(self, clusters: Sequence[str]) -> dict[str, Counts]:
        """Requests and errors (5xx, and requests that got no answer) of each cluster since Envoy started.

        Both are None where they are not known: Envoy is away, or there is no such cluster. They begin again
        at 0 when Envoy restarts. What a fallback answered counts as an error of the cluster that did not.
        """
        fragments = await asyncio.to_thread(self._files.read_all)
        names = {name: find_cluster(name, fragments) for name in clusters}
        known = [name for name in names.values() if name]
        async with Admin.open(self._files.socket) as admin:
            try:
                seen = await admin.statistics(counted(known)) if known else {}
            except httpx.TransportError:
                return dict.fromkeys(clusters, (None, None))
        return {name: count(full, seen) if full else (None, None) for name, full in names.items()}

    async def _put(self, admin: Admin, fragments: Mapping[str, Fragment]) -> None:
        """Clusters that come, then routes, then without clusters that went: no route ever lacks its cluster."""
        present = await asyncio.to_thread(self._files.present_clusters)
        wanted = await asyncio.to_thread(make_clusters, fragments, self._settings.portal_port)
        both = {**present, **wanted}
        if both != present:
            await self._write(admin, CLUSTERS, lambda: self._files.write_clusters(both))
        await self._write(admin, ROUTE_TABLE, lambda: self._files.write_routes(fragments))
        if both != wanted:
            await self._write(admin, CLUSTERS, lambda: self._files.write_clusters(wanted))

    async def _write(self, admin: Admin, what: str, write: Callable[[], str]) -> None:
        before = await admin.before(what)
        version = await asyncio.to_thread(write)
        if not await admin.accepted(what, version, before):
            raise RoutesRefused(reason=await why_refused(self._settings))

    def _restore(self, fragments: Mapping[str, Fragment]) -> None:
        self._files.write_clusters(make_clusters(fragments, self._settings.portal_port))
        self._files.write_routes(fragments)

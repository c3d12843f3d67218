"""Publishing: merge, write clusters before routes, and wait until Envoy took them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from dure.errors import NotReady
from dure_hub.dataplane.admin import EnvoyAway
from dure_hub.dataplane.asking import CLUSTERS, ROUTES
from dure_hub.dataplane.bootstrap import check_address
from dure_hub.dataplane.counting import (
    Counts,
    Latency,
    count,
    counted,
    find_cluster,
    latency,
    slowest,
    summed,
    timed,
)
from dure_hub.dataplane.errors import RoutesRefused
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.fragments import Fragment
from dure_hub.dataplane.render import make_clusters
from dure_hub.dataplane.taking import takers_of
from dure_hub.settings import Settings

LINGER_S = 15.0
"""Longer than the portal's check may take (`bootstrap.CHECK_TIMEOUT`)."""

SMALL = 50
"""A table of up to so many routes is rendered at once; a larger one in a thread, beside the event loop."""

P = ParamSpec("P")
T = TypeVar("T")


class Dataplane:
    """The route table of one portal. Any process of the portal may hold one; a file lock orders them."""

    def __init__(self, settings: Settings) -> None:
        self._files = Files(settings.folder)
        self._takers = takers_of(settings)
        self._check = check_address(settings)
        self._small = True

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
            before = await self._do(self._files.read_all)
            fragment = edit(before.get(name, Fragment()))
            fragment.check()
            self._small = sum(len(one.routes) for one in before.values()) + len(fragment.routes) <= SMALL
            try:
                await self._put({**before, name: fragment})
            except RoutesRefused:
                await self._do(self._restore, before)
                raise
            # Last: a writer killed half-way leaves a fragment that is behind, and its owner adds it again.
            await self._do(self._files.keep, name, fragment)

    async def counts(self, clusters: Sequence[str]) -> dict[str, Counts]:
        """Requests and errors (5xx, and requests that got no answer) of each cluster since Envoy started.

        Both are None where they are not known: Envoy is away, or there is no such cluster. They begin again
        at 0 when Envoy restarts. What a fallback answered counts as an error of the cluster that did not.
        """
        names = await self._named(clusters)
        known = [name for name in names.values() if name]
        try:
            told = [await admin.statistics(counted(known)) for admin in await self._takers.admins() if known]
        except (EnvoyAway, NotReady):
            return dict.fromkeys(clusters, (None, None))
        seen = summed(told)
        return {name: count(full, seen) if full else (None, None) for name, full in names.items()}

    async def latencies(self, clusters: Sequence[str]) -> dict[str, Latency]:
        """Median and 95th percentile, in milliseconds, of each cluster's requests since Envoy started.

        Over the same requests as `counts`, so that a person reads both together: a canary's cluster is new, and
        what it shows is the canary's whole life. The last few seconds alone would be empty or a matter of luck at
        the rates that a team's endpoints have. Correct to about 5 %, some seconds late. Both are None where they
        are not known, as while no request was answered.
        """
        names = await self._named(clusters)
        known = [name for name in names.values() if name]
        try:
            told = [await admin.histograms(timed(known)) for admin in await self._takers.admins() if known]
        except (EnvoyAway, NotReady):
            told = []
        seen = slowest(told)
        return {name: latency(full, seen) if full else (None, None) for name, full in names.items()}

    async def _named(self, clusters: Sequence[str]) -> dict[str, str | None]:
        """Their full names in Envoy; None for one that is in no fragment."""
        fragments = await asyncio.to_thread(self._files.read_all)
        return {name: find_cluster(name, fragments) for name in clusters}

    async def _put(self, fragments: Mapping[str, Fragment]) -> None:
        """Clusters that come, then routes: no route ever lacks its cluster.

        A cluster that no route names any more stays for a while, and goes with a later change: a request may be
        on its way to it since before, and still be waiting for the portal's check.
        """
        present = await self._do(self._files.present_clusters)
        wanted = await self._do(make_clusters, fragments, self._check)
        now = time.time()
        left = self._files.left()
        leaving = {
            name: left.get(name, now)
            for name in present
            if name not in wanted and now - left.get(name, now) < LINGER_S
        }
        both = {**{name: present[name] for name in leaving}, **wanted}
        if both != present:
            await self._takers.taken(CLUSTERS, await self._do(self._files.write_clusters, both))
        await self._takers.taken(ROUTES, await self._do(self._files.write_routes, fragments))
        if leaving != left:
            self._files.leave(leaving)

    def _restore(self, fragments: Mapping[str, Fragment]) -> None:
        self._files.write_clusters(make_clusters(fragments, self._check))
        self._files.write_routes(fragments)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._small:
            return work(*args, **kwargs)
        return await asyncio.to_thread(work, *args, **kwargs)

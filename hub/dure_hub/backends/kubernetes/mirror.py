"""A list of objects kept as the API server has it: listed once, then followed change by change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused

log = logging.getLogger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
LIVED_S = 5.0
FOLLOW_S = 300
"""The server ends a watch after so long, and it is taken up where it ended."""

PODS = "/api/v1/pods"
"""Those of all namespaces."""

Object = Mapping[str, Any]


class Mirror:
    """All objects at one path. It says nothing rather than something old: while it cannot follow, it is away."""

    def __init__(self, cluster: Cluster, path: str, **query: str) -> None:
        self._cluster, self._path, self._query = cluster, path, query
        self._objects: dict[tuple[str, str], Object] = {}
        self._live = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._why = "it was not asked yet"

    async def now(self, patience_s: float) -> Collection[Object]:
        """The objects. The first call begins to follow. Raises `ClusterAway` where they are not known in time."""
        await self._known(patience_s)
        return list(self._objects.values())

    async def one(self, namespace: str, name: str, patience_s: float) -> Object | None:
        """That of this name; None where it is not there, or is not known to be there yet. Else as `now`."""
        await self._known(patience_s)
        return self._objects.get((namespace, name))

    async def _known(self, patience_s: float) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        if self._live.is_set():  # without a timer: it is asked for one of them again and again
            return
        try:
            await asyncio.wait_for(self._live.wait(), patience_s)
        except TimeoutError:
            raise ClusterAway(why=self._why) from None

    def close(self) -> None:
        """Follow no more."""
        self._live.clear()
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        """For good. Whatever goes wrong is a pause, in which nothing is said. It grows until a watch has lived for
        a while, so that one that is refused or cut off at once costs no list after the other."""
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                version = await self._list()
                began = time.monotonic()
                await self._watch_on(version)
            except (ClusterAway, ClusterRefused) as why:
                self._why = str(why.facts.get("why", why))
                log.warning("%s is not followed: %s", self._path, self._why)
            except Exception as error:
                self._why = type(error).__name__
                log.exception("%s is not followed", self._path)
            finally:
                self._live.clear()
            pause = FIRST_PAUSE_S if time.monotonic() - began > LIVED_S else min(pause * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _watch_on(self, version: str) -> None:
        """Follow, watch after watch, for as long as each has lived for a while."""
        while True:
            began = time.monotonic()
            version = await self._watch(version)
            if time.monotonic() - began < LIVED_S:
                raise ClusterAway(why="the watch ended at once")

    async def _list(self) -> str:
        found, version = await self._cluster.all_at(self._path, **self._query)
        self._objects = {_key(one): one for one in found}
        self._live.set()
        return version

    async def _watch(self, version: str) -> str:
        """Follow until the server ends the watch; the version to go on from."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(FOLLOW_S)}
        async for kind, one in self._cluster.follow(self._path, **self._query, **query, resourceVersion=version):
            version = one["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self._objects.pop(_key(one), None)
            elif kind != "BOOKMARK":
                self._objects[_key(one)] = one
        return version


def _key(one: Object) -> tuple[str, str]:
    """Of one name there is one at a time, and changes come in order."""
    return str(one["metadata"].get("namespace", "")), str(one["metadata"]["name"])

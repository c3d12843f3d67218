"""What Kueue holds back, and why: of however many wait, the API server is asked as often as for one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from dure_hub.backends.base import Handle
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused, NotAdmitted
from dure_hub.backends.kubernetes.kueue import API
from dure_hub.backends.kubernetes.looks import is_gated, says_why, waits_for, waits_in
from dure_hub.backends.kubernetes.marks import QUEUE

JOB_UID = "kueue.x-k8s.io/job-uid"
"""A label of a workload, which is what Kueue judges in place of a pod: the uid of that pod."""
LOOK_S, AWAY_S = 0.5, 1.0
KEEP_S = 2.0
"""How old what Kueue says may be."""
log = logging.getLogger(__name__)

Pod = Mapping[str, Any]
T = TypeVar("T")


class Kept(Generic[T]):
    """What many want to read at once: one of them asks, and for `KEEP_S` all others read the same."""

    def __init__(self, ask: Callable[[str], Awaitable[T]], now: Callable[[], float]) -> None:
        self._ask, self._now = ask, now
        self._asking = asyncio.Lock()
        self._found: dict[str, tuple[float, T]] = {}

    async def at(self, path: str) -> T:
        """What is there. Raises what asking raises, and keeps nothing then."""
        async with self._asking:
            there = self._found.get(path)
            if there is None or self._now() - there[0] >= KEEP_S:
                there = self._found[path] = (self._now(), await self._ask(path))
            return there[1]


class Holds:
    """What Kueue holds back just now, told to whoever waits for it. `look` reads a pod where it is followed
    already; without it each look asks."""

    def __init__(
        self,
        cluster: Cluster,
        look: Callable[[Handle], Awaitable[Pod | None]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._look = cluster, look or self._ask
        self._workloads, self._queues = Kept(self._ask_workloads, now), Kept(cluster.get, now)

    async def held_back(self, handle: Handle) -> str | None:
        """Why it holds a pod back, in its words; None where it does not, or not any more."""
        pod = await self._look(handle)
        return await self._why(pod) if pod is not None and _is_held(pod) else None

    async def until_admitted(self, handle: Handle, limit_s: float) -> None:
        """Return once it has admitted a pod; also where it never held it back, and where that is over.

        Raises `NotAdmitted` after so many seconds; the pod is there still, and may yet be admitted. Time in which
        the API server does not answer says nothing, and does not count.
        """
        waited, last = 0.0, time.monotonic()
        while True:
            try:
                # what is followed may be a moment old: who gives up has asked
                pod = await (self._ask(handle) if waited >= limit_s else self._look(handle))
                if pod is None or not _is_held(pod):
                    return
                if waited >= limit_s:
                    raise await self._not_admitted(pod, limit_s)
            except ClusterAway as error:
                log.info("whether Kueue has admitted %s is not known yet: %s", handle.lease, error)
                await asyncio.sleep(AWAY_S)
                last = time.monotonic()
                continue
            await asyncio.sleep(LOOK_S)
            waited, last = waited + max(time.monotonic() - last, LOOK_S), time.monotonic()

    async def _not_admitted(self, pod: Pod, limit_s: float) -> NotAdmitted:
        queue, why = (pod["metadata"].get("labels") or {}).get(QUEUE, "?"), await self._why(pod) or "?"
        return NotAdmitted(name=pod["metadata"]["name"], limit_s=round(limit_s), queue=queue, why=why)

    async def _why(self, pod: Pod) -> str | None:
        metadata = pod["metadata"]
        space = f"{API}/namespaces/{metadata['namespace']}"
        workloads = await self._workloads.at(f"{space}/workloads")
        if workloads is None or says_why(workloads.get(metadata["uid"])):
            return waits_for(pod, (workloads or {}).get(metadata["uid"]))
        # of many that ask for the same Kueue judges one, and of the others it says nothing
        queue = (metadata.get("labels") or {}).get(QUEUE, "")
        return waits_in(queue, await self._queues.at(f"{space}/localqueues/{queue}"))

    async def _ask_workloads(self, path: str) -> Mapping[str, Pod] | None:
        """All of a namespace by the uids of their pods; None where the portal may not read them."""
        try:
            found = await self._cluster.all(path, labelSelector=JOB_UID)
        except ClusterRefused as error:  # words alone are no reason to fail
            log.warning("what Kueue says cannot be read: %s", error.text())
            return None
        return {one["metadata"]["labels"][JOB_UID]: one for one in found}

    async def _ask(self, handle: Handle) -> Pod | None:
        """Its pod, and no later one of the same name."""
        where = handle.where
        pod = await self._cluster.get(f"/api/v1/namespaces/{where['namespace']}/pods/{where['name']}")
        same = pod is not None and where.get("uid") in (None, pod["metadata"]["uid"])
        return pod if same else None


def _is_held(pod: Pod) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and is_gated(pod)

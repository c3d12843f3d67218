"""Pods as runs: started once for each lease, looked at, ended, and kept until the portal has read how they ended.

A pod that is deleted is gone with all that it says. So each has a finalizer: deleting it ends what runs, and its
status stays until `forget`. Nothing is remembered here; all that a later look needs is in the pod's labels.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dure_hub.backends.base import (
    LONGEST_CHARACTER,
    Handle,
    Kind,
    LogPiece,
    Phase,
    Runs,
    Seen,
    StillRuns,
    begin,
    piece_of,
)
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import ClusterChanged, NameTaken, QuotaExceeded
from dure_hub.backends.kubernetes.looks import is_readable, seen_of, where_of, why_never_ran
from dure_hub.backends.kubernetes.marks import RECORD, STOPPED, lease_of, run_name, selector
from dure_hub.backends.kubernetes.overlay import laid_over
from dure_hub.backends.kubernetes.pods import CONTAINER, make_pod
from dure_hub.backends.kubernetes.spec import PodSpec

NOTHING: Mapping[str, Any] = {}
LOOK_S = 0.25
TRIES = 5
PATIENCE_S = 30.0
"""How much longer than its grace the end of a pod is waited for; the next look sees it, too."""


class PodRuns(Runs):
    """Runs of one kind, in one namespace."""

    def __init__(
        self,
        cluster: Cluster,
        portal: str,
        namespace: str,
        kind: Kind,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.kind = kind
        self._portal = portal
        self._cluster, self._pods, self._now = cluster, f"/api/v1/namespaces/{namespace}/pods", now

    async def launch(self, spec: PodSpec, template: Mapping[str, Any] = NOTHING) -> AsyncIterator[Handle]:
        """As `ServerBackend.start`, for a pod that is all decided. A second start of its lease yields the first.

        With a `template`, it is laid over that.

        Raises `NameTaken` where another pod has its name, also one that is ending; `QuotaExceeded`.
        """
        full: QuotaExceeded | None = None
        try:
            await self._cluster.create(self._pods, laid_over(template, make_pod(spec), spec.hidden))
        except QuotaExceeded as error:  # said before anybody looks whether there is such a pod already
            full = error
        pod = await self._cluster.get(f"{self._pods}/{spec.name}")
        if pod is None and full is not None:
            raise full
        if pod is None or lease_of(pod, self._portal) != spec.lease:
            raise NameTaken(name=spec.name)
        yield Handle(spec.lease, self.kind, where_of(pod))

    async def seen(self) -> Sequence[Seen]:
        """All of this kind that carries our mark."""
        found = await self._cluster.all(self._pods, labelSelector=selector(self._portal, self.kind))
        looks = (seen_of(pod, self._portal, self.kind, self._now()) for pod in found)
        return [look for look in looks if look is not None]

    async def poll(self, handle: Handle) -> Seen:
        """One of them. Raises `ClusterAway`: no answer is no verdict."""
        pod = await self._pod(handle)
        look = seen_of(pod, self._portal, self.kind, self._now()) if pod else None
        return look or Seen(handle, Phase.GONE)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Ask it to end, and wait until it has; the kubelet kills it after the grace."""
        address, pod = self._address(handle), await self._pod(handle)
        if pod is None or (await self.poll(handle)).phase is not Phase.RUNNING:
            return
        uid = pod["metadata"]["uid"]
        asked = {"uid": uid, "annotations": {STOPPED: self._now().isoformat()}}
        await self._cluster.patch(address, {"metadata": asked})
        # a grace of 0 would take the pod off the list before its processes have ended
        await self._cluster.delete(address, grace_s=max(round(grace_s), 1), uid=uid)
        for _ in range(math.ceil((grace_s + PATIENCE_S) / LOOK_S)):
            if (await self.poll(handle)).phase is not Phase.RUNNING:
                return
            await asyncio.sleep(LOOK_S)

    async def forget(self, handle: Handle) -> None:
        """Let the pod go, and leave alone the finalizers of others. Raises `StillRuns`."""
        for left in reversed(range(TRIES)):
            try:
                await self._let_go(handle)
                return
            except ClusterChanged:  # others, as Kueue, take their finalizers off at the same time
                if not left:
                    raise

    async def _let_go(self, handle: Handle) -> None:
        pod = await self._pod(handle)
        if pod is None:
            return
        if (await self.poll(handle)).phase is Phase.RUNNING:
            raise StillRuns(lease=handle.lease)
        metadata = pod["metadata"]
        left = [one for one in metadata.get("finalizers") or () if one != RECORD]
        same = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        await self._cluster.patch(self._address(handle), {"metadata": same | {"finalizers": left}})
        # it has ended: without this, one that was stopped stays listed until its kubelet has tidied up
        await self._cluster.delete(self._address(handle), grace_s=0, uid=metadata["uid"])

    async def log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        """A piece of what its container said. The kubelet gives no middle, so it is read up to the piece's end;
        of a log that was rotated it gives the last file (10 MiB, where nobody has set `containerLogMaxSize`)."""
        size = max(limit, LONGEST_CHARACTER)
        whole = await self._log(handle, **({"limitBytes": str(offset + size)} if offset >= 0 else {}))
        at = begin(io.BytesIO(whole), offset)
        return piece_of(whole[at : at + size], at)

    async def keep_log(self, handle: Handle, target: Path) -> None:
        """All of it that the kubelet has, as a file that appears whole."""
        content = await self._log(handle)
        await asyncio.to_thread(_write, target, content)

    async def tail(self, handle: Handle, limit: int) -> str:
        """The end of it. The kubelet counts lines, of which each is a byte at least."""
        return (await self._log(handle, tailLines=str(limit)))[-limit:].decode(errors="replace")

    async def _log(self, handle: Handle, **query: str) -> bytes:
        pod = await self._pod(handle)
        if pod is None:
            return b""
        if (why := why_never_ran(pod)) is not None:
            return why.encode()
        if not is_readable(pod):
            return b""
        return await self._cluster.raw(f"{self._address(handle)}/log", container=CONTAINER, **query) or b""

    async def _pod(self, handle: Handle) -> Mapping[str, Any] | None:
        """Its pod, and no later one of the same name, nor anybody else's."""
        return self._its(handle, await self._cluster.get(self._address(handle)))

    def _its(self, handle: Handle, pod: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if pod is None or lease_of(pod, self._portal) != handle.lease:
            return None
        return pod if handle.where.get("uid") in (None, pod["metadata"]["uid"]) else None

    def _name(self, handle: Handle) -> str:
        """By its lease where the handle was lost: a hub may be killed before it has kept it."""
        return str(handle.where.get("name") or run_name(self.kind, handle.lease))

    def _address(self, handle: Handle) -> str:
        return f"{self._pods}/{self._name(handle)}"


def _write(target: Path, content: bytes) -> None:
    unfinished = target.with_name(f".{target.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    unfinished.replace(target)

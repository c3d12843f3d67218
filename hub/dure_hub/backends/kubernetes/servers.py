"""People's servers as pods, each with its owner's home, its Secret and the slice of its lease."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from dure_hub.backends import asking
from dure_hub.backends.base import (
    REASONS,
    Feature,
    Handle,
    Kind,
    Phase,
    Reason,
    Seen,
    ServerBackend,
    ServerWork,
)
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import ClusterAway, PodEnded, PodStuck
from dure_hub.backends.kubernetes.looks import ENDED, seen_of, trouble_of, waits_for, where_of
from dure_hub.backends.kubernetes.marks import BASE, MANAGED_BY, OURS, OWNER, PORTAL, run_name
from dure_hub.backends.kubernetes.pods import make_home_claim, make_secret
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.backends.kubernetes.specs import home_claim, server_spec
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

log = logging.getLogger(__name__)
LOOK_S, AWAY_S = 0.1, 1.0
TROUBLE_S = 20.0
"""How long a pod may be in trouble that does not pass by waiting: its Secret, or an image, may just have come."""
GUARD_S = 10.0
"""How long a server may take to say whether it watches its guests."""
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable


class KubernetesServers(PodRuns, ServerBackend):
    """Yields the handle once there is a pod, and again once that has an address."""

    unsupported: Mapping[Feature, Mapping[str, str]] = {
        Feature.OWN_PYTHON: {
            "en": "On a cluster a server's packages are those of its image, and what is installed into its home.",
            "ko": "클러스터에서 서버의 패키지는 이미지와 홈에 설치한 것입니다.",
        },
        Feature.SHARED_FOLDERS: {
            "en": "On a cluster shared folders are volumes that the option `kubespawner` mounts.",
            "ko": "클러스터에서 공유 폴더는 `kubespawner` 설정으로 연결한 볼륨입니다.",
        },
    }

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        super().__init__(cluster, settings.instance, settings.namespace_dev, Kind.SERVER)
        self._settings = settings
        self._space = f"/api/v1/namespaces/{settings.namespace_dev}"

    async def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        """As the interface says. The Secret is made once there is a pod that it goes away with.

        Raises `PodStuck` where it does not begin in time, `PodEnded` where it ends before it has an address.
        """
        spec = server_spec(self._settings, work)
        await self._ensure_home(work.owner)
        async for handle in self.launch(spec, work.template):
            yield handle
            secret = make_secret(spec, str(handle.where["uid"]), work.secrets)
            await self._cluster.create(f"{self._space}/secrets", secret)
            yield await self._addressed(handle)

    async def _ensure_home(self, owner: str) -> None:
        if not self._settings.home_size_gb:
            return
        labels = {MANAGED_BY: OURS, PORTAL: self._settings.instance, OWNER: slug(owner)}
        claim = make_home_claim(
            home_claim(owner),
            self._settings.namespace_dev,
            labels,
            self._settings.home_size_gb,
            self._settings.storage_class or None,
        )
        await self._cluster.create(f"{self._space}/persistentvolumeclaims", claim)

    async def _addressed(self, handle: Handle) -> Handle:
        """Once it has an address. An API server that is away is waited for: that time says nothing of the pod."""
        waited, in_trouble, why = 0.0, 0.0, "-"
        while waited < self._settings.pod_start_s and in_trouble < TROUBLE_S:
            began = time.monotonic()
            await asyncio.sleep(LOOK_S if waited else 0)
            try:
                pod = await self._pod(handle)
            except ClusterAway as error:
                log.info("the address of %s is not known yet: %s", handle.lease, error)
                await asyncio.sleep(AWAY_S)
                continue
            if pod is None or pod["status"].get("phase") in ENDED:
                raise PodEnded(why=self._ending(pod))
            found = where_of(pod)
            if "ip" in found and pod["status"].get("phase") == "Running":
                return Handle(handle.lease, handle.kind, found)
            trouble, passed = trouble_of(pod), max(time.monotonic() - began, LOOK_S)
            waited, in_trouble = waited + passed, in_trouble + passed if trouble else 0.0
            why = trouble or waits_for(pod) or why
        raise PodStuck(seconds=round(waited), why=why)

    def _ending(self, pod: Mapping[str, Any] | None) -> str:
        seen = seen_of(pod, self._portal, self.kind, self._now()) if pod else None
        return REASONS[Reason(seen.reason if seen and seen.reason else Reason.STOPPED)]["en"]

    def address(self, handle: Handle) -> tuple[str, int]:
        """That of its pod, on the cluster's own network."""
        return str(handle.where["ip"]), int(handle.where["port"])

    async def located(self, handle: Handle) -> Handle:
        """From its pod, which may still be starting."""
        return handle if "ip" in handle.where else await self._addressed(handle)

    async def poll(self, handle: Handle) -> Seen:
        """As of any run. One whose start was cut off before its pod, or its Secret, was made has never started: a
        second start of its lease takes it up where it was."""
        seen = await super().poll(handle)
        if "uid" in handle.where or seen.phase is Phase.EXITED or seen.started is not None:
            return seen
        if seen.phase is Phase.RUNNING and await self._cluster.get(self._secret(handle)) is not None:
            return seen
        return Seen(handle, Phase.GONE, reason=Reason.NEVER_STARTED)

    def _secret(self, handle: Handle) -> str:
        return f"{self._space}/secrets/{handle.where['name']}"

    def recall(self, lease: str) -> tuple[Handle, str] | None:
        """By the lease's name alone; whether there is a pod of it, `poll` says."""
        where = {"namespace": self._settings.namespace_dev, "name": run_name(Kind.SERVER, lease)}
        return Handle(lease, Kind.SERVER, where), ""

    async def token(self, handle: Handle) -> str | None:
        """From its Secret."""
        found = await self._cluster.get(self._secret(handle))
        said = ((found or {}).get("data") or {}).get(TOKEN)
        return base64.b64decode(said).decode() if said else None

    async def before_stop(
        self, handle: Handle, reason: str, ends_at: str, hook_s: float
    ) -> Mapping[str, Any] | None:
        """Over the cluster's network, with its own token; nothing is sent once it has ended."""
        door = await self._door(handle)
        body = {"reason": reason, "ends_at": ends_at, "hook_seconds": hook_s}
        return None if door is None else await asking.post(f"{door[0]}/before-stop", door[1], body)

    async def watches_guests(self, handle: Handle) -> bool:
        """Over the cluster's network, too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GUARD_S):
                door = await self._door(handle)
                found = None if door is None else await asking.get(f"{door[0]}/guests", door[1])
                return found is not None and found.get("watching") is True
        return False

    async def _door(self, handle: Handle) -> tuple[str, str] | None:
        """Where one that runs answers us, and its token: an address is another pod's once this one has ended."""
        pod = await self._pod(handle)
        found = {} if pod is None else where_of(pod)
        if pod is None or "ip" not in found or (await self.poll(handle)).phase is not Phase.RUNNING:
            return None
        token = await self.token(handle)
        base = str((pod["metadata"].get("annotations") or {}).get(BASE, "")).rstrip("/")
        return (f"http://{found['ip']}:{found['port']}{base}/dure", token) if token and base else None

"""People's servers as pods, each with its owner's home, its Secret and the slice of its lease."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dure.errors import Text
from dure_hub.backends.asking import AskedServers, Door
from dure_hub.backends.base import (
    REASONS,
    Feature,
    Handle,
    Kind,
    Phase,
    Reason,
    Seen,
    ServerWork,
)
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import (
    ClusterAway,
    HomeTaken,
    NoNode,
    OverClusterQuota,
    PodEnded,
    PodStuck,
    QuotaExceeded,
    VolumeMissing,
)
from dure_hub.backends.kubernetes.holding import Holds
from dure_hub.backends.kubernetes.looks import (
    ENDED,
    is_ending,
    is_ready,
    not_begun,
    pinned_to,
    seen_of,
    silent,
    steps_of,
    trouble_of,
    unusable,
    waits_for,
    where_of,
)
from dure_hub.backends.kubernetes.marks import BASE, MANAGED_BY, OURS, OWNER, PORTAL, lease_of, run_name, selector
from dure_hub.backends.kubernetes.mirror import PODS, Mirror
from dure_hub.backends.kubernetes.pods import make_home_claim, make_secret
from dure_hub.backends.kubernetes.queues import queued
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.backends.kubernetes.specs import home_claim, server_spec
from dure_hub.catalogue.profiles import Volume
from dure_hub.policies.classes import NOTEBOOK, class_of
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

log = logging.getLogger(__name__)
LOOK_S, AWAY_S, PATIENCE_S = 0.1, 1.0, 3.0
TROUBLE_S = 20.0
"""How long a pod may be in trouble that does not pass by waiting: an image may just have come."""
SWEEP_S = 900.0
"""Between two looks for Secrets that no pod came to, and how old such a one is at least."""
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable


class KubernetesServers(PodRuns, AskedServers):
    """Yields the handle once there is a pod, and again once that has an address.

    However many start, their pods are read where all are followed: `pods` is that, where the process follows them.
    """

    unsupported: Mapping[Feature, Mapping[str, str]] = {
        Feature.OWN_PYTHON: {
            "en": "On a cluster a server's packages are those of its image, and what is installed into its home.",
            "ko": "클러스터에서 서버의 패키지는 이미지와 홈에 설치한 것입니다.",
        },
        Feature.SHARED_FOLDERS: {
            "en": "On a cluster shared folders are volumes of a profile, or what the option `kubespawner` mounts.",
            "ko": "클러스터에서 공유 폴더는 프로필의 볼륨이거나 `kubespawner` 설정으로 연결한 볼륨입니다.",
        },
    }

    def __init__(self, settings: Settings, cluster: Cluster, pods: Mirror | None = None) -> None:
        super().__init__(cluster, settings.instance, settings.namespace_dev, Kind.SERVER)
        self._mirror, self._holds = pods or Mirror(cluster, PODS), Holds(cluster, self._followed)
        self._settings = settings
        self._space = f"/api/v1/namespaces/{settings.namespace_dev}"
        self._secrets = f"{self._space}/secrets"
        self._swept = 0.0

    async def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        """As the interface says. Its Secret is there before its pod: who was killed in between starts anew.

        Kueue admits it, where its team has a queue there. Raises `NotAdmitted` where it does not in its time, and
        `NoNode` where the scheduler then does not; `PodStuck` where it has no address in its own, after that;
        `PodEnded` where it ends before. Before there is a pod: `OverClusterQuota` where a quota has no room, and
        `VolumeMissing` where a volume of its profile is not there.
        """
        spec = server_spec(self._settings, work)
        await self._need_volumes(work.volumes)
        handle = await self._made(spec, work)
        yield handle
        yield await self._addressed(handle)

    async def _made(self, spec: PodSpec, work: ServerWork) -> Handle:
        """Its home, its Secret and its pod. Where a quota has no room for one of them, no Secret is left."""
        try:
            await self._ensure_home(work.owner)
            secret = make_secret(spec, work.secrets)
            made = await self._cluster.create(self._secrets, secret)
            if not made:  # there is one of a start that was cut off: its token is lost
                await self._cluster.patch(f"{self._secrets}/{spec.name}", {"stringData": secret["stringData"]})
            queue = await queued(self._cluster, spec, class_of(NOTEBOOK))
            return await anext(self.launch(queue, work.template))
        except QuotaExceeded as error:
            await self._cluster.delete(f"{self._secrets}/{spec.name}")
            facts, space = error.facts, spec.namespace
            raise OverClusterQuota(quota=facts["quota"], namespace=space, why=facts["said"]) from error

    async def seen(self) -> Sequence[Seen]:
        """As of any run. Now and then Secrets are removed that no pod came to."""
        found = await super().seen()
        if time.monotonic() - self._swept > SWEEP_S:
            self._swept = time.monotonic()
            await self._sweep({one.handle.lease for one in found})
        return found

    async def _sweep(self, there: Collection[str]) -> None:
        for secret in await self._cluster.all(self._secrets, labelSelector=selector(self._portal, self.kind)):
            made = datetime.fromisoformat(secret["metadata"]["creationTimestamp"])
            if lease_of(secret, self._portal) not in there and (self._now() - made).total_seconds() > SWEEP_S:
                await self._cluster.delete(f"{self._secrets}/{secret['metadata']['name']}")

    async def forget(self, handle: Handle) -> None:
        """Its Secret goes first: what is left then is found again by its pod."""
        if (await self.poll(handle)).phase is not Phase.RUNNING:
            await self._cluster.delete(self._secret(handle))
        await super().forget(handle)

    async def _need_volumes(self, volumes: Iterable[Volume]) -> None:
        """A pod whose claim is not there would wait for it without a word until its time is over."""
        for volume in volumes:
            claim = await self._cluster.get(f"{self._space}/persistentvolumeclaims/{volume.claim}")
            if why := unusable(claim):
                raise VolumeMissing(
                    claim=volume.claim, namespace=self._settings.namespace_dev, path=volume.path, why=why
                )

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
            self._settings.home_access,
        )
        claims = f"{self._space}/persistentvolumeclaims"
        there = await self._cluster.get(f"{claims}/{home_claim(owner)}")
        if there is None:  # looked for first: a quota that is used up refuses also what there is already
            if await self._cluster.create(claims, claim):
                return
            there = await self._cluster.get(f"{claims}/{home_claim(owner)}")
        whose = ((there or {}).get("metadata", {}).get("labels") or {}).get(PORTAL)
        if whose != self._settings.instance:
            raise HomeTaken(claim=home_claim(owner), whose=whose or "-", portal=self._settings.instance)

    async def _addressed(self, handle: Handle) -> Handle:
        """Once it has an address. An API server that is away is waited for: that time says nothing of the pod.

        Nor does the time in which Kueue holds it back, or no node has it, which have limits of their own.
        """
        await self._holds.until_admitted(handle, self._settings.kueue_admission_s)
        unplaced, waited, in_trouble, limit_s = 0.0, 0.0, 0.0, self._settings.pod_start_s
        why: str | Text = "-"
        while True:
            lost = unplaced >= self._settings.node_wait_s
            over, began = lost or waited >= limit_s or in_trouble >= TROUBLE_S, time.monotonic()
            await asyncio.sleep(LOOK_S if waited or unplaced else 0)
            try:
                # what is followed may be a moment old: who gives up has asked
                pod = await (self._pod(handle) if over else self._followed(handle))
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
            if "node" not in found:
                why = waits_for(pod) or why
                if lost:
                    raise NoNode(node=pinned_to(pod), seconds=round(unplaced), why=why)
                unplaced += passed
                continue
            why = trouble or not_begun(pod)
            if over and (trouble or waited >= limit_s):
                raise PodStuck(seconds=round(waited), why=why)
            waited, in_trouble, unplaced = waited + passed, in_trouble + passed if trouble else 0.0, 0.0

    async def _followed(self, handle: Handle) -> Mapping[str, Any] | None:
        """Its pod as it is followed with all others, which asks nobody. One that is not there, yet or any more, is
        asked for. Raises `ClusterAway` where pods cannot be followed now."""
        found = await self._mirror.one(self._settings.namespace_dev, self._name(handle), PATIENCE_S)
        return self._its(handle, found) or await self._pod(handle)

    def _ending(self, pod: Mapping[str, Any] | None) -> str | Text:
        """The cluster's own words, where it has any."""
        seen = seen_of(pod, self._portal, self.kind, self._now()) if pod else None
        if seen is not None and seen.said:
            return seen.said
        return REASONS[Reason(seen.reason if seen and seen.reason else Reason.STOPPED)]

    def address(self, handle: Handle) -> tuple[str, int]:
        """That of its pod, on the cluster's own network."""
        return str(handle.where["ip"]), int(handle.where["port"])

    async def located(self, handle: Handle) -> Handle:
        """From its pod, which may still be starting."""
        return handle if "ip" in handle.where else await self._addressed(handle)

    async def held_back(self, handle: Handle) -> str | None:
        """What Kueue says, where it holds its pod back."""
        return await self._holds.held_back(handle)

    async def lingers(self, handle: Handle) -> Text | None:
        """Where its node does not answer: nobody can tell then whether it still runs."""
        pod = await self._pod(handle)
        if pod is None or not is_ending(pod) or not pod["spec"].get("nodeName"):
            return None
        node = str(pod["spec"]["nodeName"])
        nodes = await self._cluster.all("/api/v1/nodes", fieldSelector=f"metadata.name={node}")
        return silent(node) if nodes and not is_ready(nodes[0]) else None

    async def came_to(self, handle: Handle) -> Sequence[tuple[str, str]]:
        """As its pod says it."""
        pod = await self._followed(handle)
        return steps_of(pod) if pod is not None else ()

    async def poll(self, handle: Handle) -> Seen:
        """As of any run. What has no pod, and of which none was ever seen, never started."""
        seen = await super().poll(handle)
        if seen.phase is Phase.GONE and "uid" not in handle.where:
            return Seen(handle, Phase.GONE, reason=Reason.NEVER_STARTED)
        return seen

    def _secret(self, handle: Handle) -> str:
        return f"{self._secrets}/{run_name(self.kind, handle.lease)}"

    def recall(self, lease: str) -> tuple[Handle, str] | None:
        """By the lease's name alone; whether there is a pod of it, `poll` says."""
        where = {"namespace": self._settings.namespace_dev, "name": run_name(Kind.SERVER, lease)}
        return Handle(lease, Kind.SERVER, where), ""

    async def _token(self, handle: Handle) -> str | None:
        found = await self._cluster.get(self._secret(handle))
        said = ((found or {}).get("data") or {}).get(TOKEN)
        return base64.b64decode(said).decode() if said else None

    async def door(self, handle: Handle) -> Door | None:
        """At its pod's address."""
        pod = await self._pod(handle)
        found = {} if pod is None else where_of(pod)
        seen = None if pod is None else seen_of(pod, self._portal, self.kind, self._now())
        if pod is None or "ip" not in found or seen is None or seen.phase is not Phase.RUNNING:
            return None
        token = await self._token(handle)
        base = str((pod["metadata"].get("annotations") or {}).get(BASE, "")).rstrip("/")
        return Door(f"http://{found['ip']}:{found['port']}{base}/dure", token) if token and base else None

"""People's servers on a cluster whose Kueue others use, too: nobody holds more than their team may, nobody loses
their place, and a hub that is killed while Kueue holds a pod back loses and doubles nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.kueue import API, Quotas, make_objects, queue_name
from dure_hub.backends.kubernetes.looks import is_gated
from dure_hub.backends.kubernetes.marks import LEASE, PRIORITY, QUEUE
from dure_hub.backends.kubernetes.pods import make_container_security, make_pod_security
from dure_hub.backends.kubernetes.queues import bring
from dure_hub.backends.kubernetes.requests import OVER
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.spawners import leased
from dure_hub.store.models import Lease
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kueue import Kueue
from tests.cluster.objects import connected, make_fake_node, make_namespace, node_is_ready
from tests.cluster.programs import until
from tests.cluster.served import Site

SPACE, NODE, GPU = "served-dev", "served", "nvidia.com/gpu"
LABELS = {"nvidia.com/gpu.product": "NVIDIA-A30", "nvidia.com/gpu.memory": "24576", "set": "served"}
"""A card that no other test's nodes have."""
GPUS, QUOTA = 8, 4
VISION = ("ann", "ben", "cho", "dan")
TEAMS = {**dict.fromkeys(VISION, "vision"), "eve": "speech"}
PODS = f"/api/v1/namespaces/{SPACE}/pods"
pytestmark = pytest.mark.timeout(600)


@dataclass
class Watched:
    """What each team's pods hold of GPUs, from every event of the watch."""

    holding: dict[str, str] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    async def follow(self, cluster: Cluster, version: str) -> None:
        """In order and without a gap. A pod holds what it asks for from when Kueue lets it until it is over."""
        async for kind, pod in cluster.follow(PODS, watch="true", resourceVersion=version):
            if kind == "BOOKMARK":
                continue
            uid, labels = pod["metadata"]["uid"], pod["metadata"].get("labels") or {}
            if kind == "DELETED" or is_gated(pod) or pod["status"].get("phase") in OVER:
                self.holding.pop(uid, None)
            else:
                self.holding[uid] = str(labels.get("dure/team") or labels.get("team"))
            for team in {*self.holding.values()}:
                held = list(self.holding.values()).count(team)
                self.most[team] = max(self.most.get(team, 0), held)

    def of(self, team: str) -> int:
        """What they hold now."""
        return list(self.holding.values()).count(team)


@pytest.fixture(scope="module")
def plane(cluster: ControlPlane, kueue: Kueue) -> Iterator[ControlPlane]:
    """A namespace, and one node of eight cards."""
    make_namespace(cluster, SPACE)
    make_fake_node(cluster, NODE, {GPU: str(GPUS)}, LABELS)
    until(lambda: node_is_ready(cluster, NODE), "the node to be ready")
    yield cluster
    cluster.api.delete(f"/api/v1/nodes/{NODE}")


@pytest.fixture
async def site(plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A portal whose teams have queues; nothing of it is on the cluster afterwards."""
    monkeypatch.setattr(leased, "until_answers", answered)
    async with connected(plane) as cluster:
        made = Site(cluster, tmp_path, TEAMS, namespace_dev=SPACE, kueue_admission_s=4, kueue_pause_s=3)
        portal = made.settings.instance
        nodes = await cluster.all("/api/v1/nodes", labelSelector="set=served")
        quotas = Quotas(portal, {"vision": QUOTA, "speech": QUOTA}, borrowing=False, namespaces=(SPACE,))
        await bring(cluster, portal, make_objects(quotas, capacity_of(nodes)))
        yield made
        await made.close()
        plane.api.delete(PODS, params={"gracePeriodSeconds": "0", "labelSelector": "team"})
        runs = PodRuns(cluster, portal, SPACE, Kind.SERVER)
        for seen in await runs.seen():
            await runs.stop(seen.handle, 0)
            await runs.forget(seen.handle)
        await bring(cluster, portal, [])
    until(lambda: not plane.get(f"{API}/clusterqueues")["items"], "the queues to be gone")


async def answered(*_where: object, **_how: object) -> None:
    """A pod that is only written has no server in it."""


@asynccontextmanager
async def watching(plane: ControlPlane) -> AsyncIterator[Watched]:
    """From now on."""
    async with connected(plane) as cluster:
        _, version = await cluster.all_at(PODS)
        watched = Watched()
        watch = asyncio.create_task(watched.follow(cluster, version))
        try:
            yield watched
            assert not watch.done(), watch
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


def strangers(plane: ControlPlane, count: int) -> None:
    """Pods that somebody sends to the queue of vision beside the portal."""
    asked = {"cpu": "100m", "memory": "64Mi", GPU: "1"}
    container = {
        "name": "c",
        "image": "localhost/nothing:1",
        "resources": {"requests": asked, "limits": asked},
        "securityContext": make_container_security(),
    }
    for number in range(count):
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"theirs-{number}", "labels": {QUEUE: queue_name("vision"), "team": "vision"}},
            "spec": {"containers": [container], "securityContext": make_pod_security(), "restartPolicy": "Never"},
        }
        plane.create(PODS, body).raise_for_status()

    def run() -> bool:
        found = plane.get(PODS, labelSelector="team")["items"]
        return len(found) == count and all(one["status"].get("phase") == "Running" for one in found)

    until(run, "the strangers' pods to run")


def strangers_end(plane: ControlPlane) -> None:
    """All of them."""
    plane.api.delete(PODS, params={"gracePeriodSeconds": "0", "labelSelector": "team"}).raise_for_status()


def ours(plane: ControlPlane) -> list[dict[str, Any]]:
    """Pods of servers."""
    return list(plane.get(PODS, labelSelector=LEASE)["items"])


async def profile(site: Site) -> str:
    """One card."""
    fleet = await site.profiles.fleet()
    return next(one.name for one in fleet.profiles.values() if one.gpus == 1 and "A30" in (one.gpu_model or ""))


def leases(site: Site) -> list[Lease]:
    """All that were ever granted, in order."""
    with site.store.reading() as session:
        return list(session.scalars(select(Lease).order_by(Lease.granted_at, Lease.id)))


async def test_what_kueue_does_not_admit_waits_in_its_place_and_gets_in_when_a_stranger_ends(
    plane: ControlPlane, site: Site
) -> None:
    async with watching(plane) as watched:
        strangers(plane, QUOTA - 1)
        card = await profile(site)
        for user in VISION:
            assert (await site.ask(user, card)).phase == "starting", "the portal's own queue has room"
        refusals = site.jupyterhub.refusals

        def three_were_refused() -> bool:
            return len({user for user, _ in refusals}) == QUOTA - 1

        deadline = asyncio.get_running_loop().time() + 120
        while not three_were_refused() or sorted((await site.phases(*VISION)).values())[0] != "running":
            assert watched.of("vision") <= QUOTA
            assert asyncio.get_running_loop().time() < deadline, (await site.phases(*VISION), refusals)
            await site.reconciler.look()
            await asyncio.sleep(0.1)
        assert {code for _, code in refusals} == {"not_admitted"}
        back = [user for user in VISION if (user, "not_admitted") in refusals]
        print(f"\nput back: {back}")
        await site.until(dict.fromkeys(back, "waiting"))
        tickets = [(await site.seen(user)).ticket for user in back]
        assert all(ticket is not None and ticket.waits_for == "cluster_queue" for ticket in tickets), tickets
        said = [(ticket.why or {}).get("ko", "") for ticket in tickets if ticket]
        # of many that ask for the same Kueue judges one, and of the others it says how many wait
        assert all("insufficient" in why or "LocalQueue dure-vision: pending" in why for why in said), said
        assert [ticket.position for ticket in tickets if ticket] == [1, 2, 3], "in the order in which they asked"
        assert (await site.ask("eve", card)).phase == "starting", "her team's queue has room"
        before = len(refusals)
        await site.until({"eve": "running"}, lambda: len(refusals) >= before + len(back))
        assert watched.of("vision") == QUOTA
        strangers_end(plane)
        await site.until(dict.fromkeys(TEAMS, "running"))
        assert watched.most == {"vision": QUOTA, "speech": 1}
    running = {lease.id for lease in leases(site) if lease.ended_at is None}
    assert {pod["metadata"]["labels"][LEASE] for pod in ours(plane)} == running
    for pod in ours(plane):
        assert pod["metadata"]["labels"][PRIORITY] == "dure-interactive"
    for lease in leases(site):
        if lease.id not in running:
            assert (lease.end_reason, lease.ended_at) == ("not_admitted", lease.granted_at), "nobody pays for that"
    secrets = plane.get(f"/api/v1/namespaces/{SPACE}/secrets", labelSelector=LEASE)["items"]
    assert {one["metadata"]["labels"][LEASE] for one in secrets} == running


@pytest.mark.parametrize("admitted", [True, False], ids=["and it is admitted meanwhile", "and it is not"])
async def test_a_hub_that_is_killed_while_kueue_holds_a_pod_back_loses_and_doubles_nothing(
    plane: ControlPlane, site: Site, admitted: bool
) -> None:
    async with watching(plane) as watched:
        strangers(plane, QUOTA)
        await site.ask("ann", await profile(site))
        until_there = asyncio.get_running_loop().time() + 60
        while not ours(plane):
            assert asyncio.get_running_loop().time() < until_there, site.jupyterhub.refusals
            await site.reconciler.look()
            await asyncio.sleep(0.1)
        (pod,) = ours(plane)
        assert is_gated(pod)
        await site.jupyterhub.kill()
        await site.reconciler.look()
        await site.reconciler.look()
        assert [one["metadata"]["uid"] for one in ours(plane)] == [pod["metadata"]["uid"]], "it waits on"
        if admitted:
            strangers_end(plane)
        await site.jupyterhub.restart()
        if not admitted:
            await site.until({"ann": "waiting"})
            strangers_end(plane)
        await site.until({"ann": "running"})
        (now,) = ours(plane)
        assert (now["metadata"]["uid"] == pod["metadata"]["uid"]) is admitted
        assert (len(leases(site)) == 1) is admitted
        assert [lease.id for lease in leases(site) if lease.ended_at is None] == [now["metadata"]["labels"][LEASE]]
        assert watched.most["vision"] <= QUOTA

"""Two hundred pods asked for at once by several clients, with the real Kueue: nobody holds more than they may."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.holding import Holds
from dure_hub.backends.kubernetes.kueue import API, Quotas, make_objects, queue_name
from dure_hub.backends.kubernetes.looks import is_gated
from dure_hub.backends.kubernetes.marks import QUEUE
from dure_hub.backends.kubernetes.pods import make_container_security, make_pod_security
from dure_hub.backends.kubernetes.queues import bring, queued
from dure_hub.backends.kubernetes.requests import OVER
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.policies.classes import INTERACTIVE, TRAINING
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kueue import Kueue
from tests.cluster.names import named
from tests.cluster.objects import connected, make_fake_node, make_namespace, node_is_ready
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

PLACES = {named("counted-dev"): (Kind.SERVER, INTERACTIVE), named("counted-training"): (Kind.JOB, TRAINING)}
SLICE, PER_GPU = "nvidia.com/mig-1g.10gb", 8
"""Of an H100, by the larger of its shares of processors and memory."""
NODES = [f"counted-{number}" for number in range(4)]
STOCK = 7 * len(NODES)
TEAMS = {"vision": 1, "speech": 2}
CLIENTS, PODS, FOREIGN = 8, 200, 20
WAIT_S = 200.0


@dataclass
class Watched:
    """What every event of the watch has said so far."""

    holding: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Slices of each pod that Kueue lets run and that is not over: by uid, its team and how many."""
    admitted: set[str] = field(default_factory=set)
    gated: dict[str, str] = field(default_factory=dict)
    """What was last seen of each that was held back."""
    most: dict[str, int] = field(default_factory=dict)
    most_together: int = 0
    events: int = 0

    def see(self, kind: str, pod: Mapping[str, Any]) -> None:
        """Take one event in, and count what is held after it."""
        uid, labels = pod["metadata"]["uid"], pod["metadata"].get("labels") or {}
        self.events += 1
        if is_gated(pod):
            conditions = [(one["type"], one.get("reason")) for one in pod["status"].get("conditions") or ()]
            self.gated[uid] = f"{kind}, {pod['metadata'].get('deletionTimestamp')}, {conditions}"
        if kind == "DELETED" or is_gated(pod) or pod["status"].get("phase") in OVER:
            self.holding.pop(uid, None)
        else:
            team = str(labels.get("dure/team") or labels.get("team"))
            slices = int(pod["spec"]["containers"][0]["resources"]["requests"][SLICE])
            self.holding[uid] = (team, slices)
            self.admitted.add(uid)
        for team in TEAMS:
            held = sum(slices for whose, slices in self.holding.values() if whose == team)
            self.most[team] = max(self.most.get(team, 0), held)
        self.most_together = max(self.most_together, sum(slices for _, slices in self.holding.values()))


@pytest.fixture(scope="module")
def plane(kueue: Kueue) -> Iterator[ControlPlane]:
    """Two namespaces and four nodes, each with seven slices of an H100."""
    cluster = kueue.plane
    for name in PLACES:
        make_namespace(cluster, name)
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "set": "counted"}
    for name in NODES:
        make_fake_node(cluster, name, {SLICE: "7"}, labels)
    until(lambda: all(node_is_ready(cluster, name) for name in NODES), "the nodes to be ready")
    yield cluster
    for name in NODES:
        cluster.api.delete(f"/api/v1/nodes/{name}")


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Cluster]:
    """The cluster; nothing of these tests is on it afterwards."""
    async with connected(plane) as made:
        yield made
        for name in PLACES:
            plane.api.delete(f"/api/v1/namespaces/{name}/pods", params={"gracePeriodSeconds": "0"})
            for kind in (Kind.SERVER, Kind.JOB):
                runs = PodRuns(made, "p1", name, kind)
                for seen in await runs.seen():
                    await runs.stop(seen.handle, 0)
                    await runs.forget(seen.handle)
        await bring(made, "p1", [])
        until(lambda: not plane.get(f"{API}/clusterqueues")["items"], "the queues to be gone")


async def make_queues(cluster: Cluster, *, borrowing: bool) -> dict[str, tuple[int, int | None]]:
    """The queues of both teams; of each what is its own, and how much it may borrow, as the cluster has it."""
    nodes = await cluster.all("/api/v1/nodes", labelSelector="set=counted")
    quotas = Quotas("p1", TEAMS, borrowing=borrowing, namespaces=tuple(PLACES))
    await bring(cluster, "p1", make_objects(quotas, capacity_of(nodes)))
    found = {}
    for team in TEAMS:
        queue = await cluster.get(f"{API}/clusterqueues/dure-p1-{team}")
        assert queue is not None
        limits = queue["spec"]["resourceGroups"][1]["flavors"][0]["resources"][0]
        more = limits.get("borrowingLimit")
        found[team] = (int(limits["nominalQuota"]), None if more is None else int(more))
    return found


def spec(team: str, place: str) -> PodSpec:
    """A pod of one slice."""
    lease = new_id()
    return PodSpec(
        portal="p1",
        name=f"c-{lease.lower()}",
        namespace=place,
        lease=lease,
        kind=PLACES[place][0],
        owner="ana",
        image="localhost/nothing:1",
        team=team,
        cores=0.1,
        memory_mb=64,
        resources={SLICE: 1},
        shm_mb=1,
        grace_s=1,
    )


def foreign(team: str, place: str, number: int) -> dict[str, Any]:
    """A pod that somebody sends to the team's queue beside the portal."""
    asked = {"cpu": "100m", "memory": "64Mi", SLICE: "1"}
    container = {
        "name": "c",
        "image": "localhost/nothing:1",
        "resources": {"requests": asked, "limits": asked},
        "securityContext": make_container_security(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"theirs-{number}", "labels": {QUEUE: queue_name(team), "team": team}},
        "spec": {"containers": [container], "securityContext": make_pod_security(), "restartPolicy": "Never"},
    }


async def ask(plane: ControlPlane, number: int, count: int, handles: list[Handle]) -> None:
    """One client, with a connection of its own: asks for these, and for some beside the portal."""
    chosen = random.Random(number)
    async with connected(plane) as cluster:
        for step in range(count):
            team, place = ("vision", "speech")[(number + step) % 2], chosen.choice(sorted(PLACES))
            one = await queued(cluster, spec(team, place), PLACES[place][1])
            runs = PodRuns(cluster, "p1", place, one.kind)
            handles += [handle async for handle in runs.launch(one)]
            if step < FOREIGN // CLIENTS + (number < FOREIGN % CLIENTS):
                body = foreign(team, place, number * 100 + step)
                assert await cluster.create(f"/api/v1/namespaces/{place}/pods", body)


async def follow(cluster: Cluster, version: str, watched: Watched) -> None:
    """Every event of pods in both namespaces since then, in order and without a gap."""
    query = {"watch": "true", "resourceVersion": version}
    async for kind, pod in cluster.follow("/api/v1/pods", **query):
        if kind != "BOOKMARK" and pod["metadata"]["namespace"] in PLACES:
            watched.see(kind, pod)


@pytest.mark.parametrize("borrowing", [False, True])
async def test_no_team_ever_holds_more_than_its_queue_allows(
    plane: ControlPlane, client: Cluster, borrowing: bool
) -> None:
    limits = await make_queues(client, borrowing=borrowing)
    bought = {team: min(STOCK, gpus * PER_GPU) for team, gpus in TEAMS.items()}
    assert limits == {team: (own, None if borrowing else 0) for team, own in bought.items()}
    _, version = await client.all_at("/api/v1/pods")
    watched, handles = Watched(), list[Handle]()
    watch = asyncio.create_task(follow(client, version, watched))
    try:
        await asyncio.gather(*(ask(plane, number, PODS // CLIENTS, handles) for number in range(CLIENTS)))
        assert len(handles) == PODS
        full = STOCK if borrowing else sum(bought.values())
        await _until(lambda: len(watched.holding) == full, f"{full} slices to be held", watched)
        held = [one for one in handles if one.where["uid"] not in watched.admitted]
        assert held
        said = dict(zip((one.where["uid"] for one in held), await _whys(client, held), strict=True))
        mute = {uid: why for uid, why in said.items() if not why or "scheduling gates" in why}
        assert not mute.keys() - watched.admitted, f"without a reason: {mute}"
        if not borrowing:  # where Kueue ends pods itself, one that it has made room for may stay held back
            everybody = PODS + FOREIGN
            await _until(lambda: len(watched.admitted) == everybody, "all to have a turn", watched, client)
    finally:
        watch.cancel()
    assert not watch.done() or watch.cancelled(), watch
    most = dict.fromkeys(TEAMS, STOCK) if borrowing else bought
    assert {team: watched.most[team] <= most[team] for team in TEAMS} == dict.fromkeys(TEAMS, True), watched.most
    assert watched.most_together <= full
    print(
        f"\n{watched.events} events; at most {watched.most} of {most}, together {watched.most_together} of {full}"
    )


async def _whys(cluster: Cluster, held: list[Handle]) -> list[str | None]:
    """Why each of them waits, of itself or of its queue."""
    holds = Holds(cluster)
    return await asyncio.gather(*map(holds.held_back, held))


async def _until(what: Any, words: str, watched: Watched, ends: Cluster | None = None) -> None:
    """Wait until it is true; with `ends`, what runs is ended meanwhile, so that the next may come."""
    for _ in range(int(WAIT_S)):
        if what():
            return
        if ends is not None:
            await _end_some(ends)
        await asyncio.sleep(1)
    left = {uid: said for uid, said in watched.gated.items() if uid not in watched.admitted}
    pytest.fail(f"Waited {WAIT_S:.0f} s for {words}: {len(watched.admitted)} were admitted, not these: {left}")


async def _end_some(cluster: Cluster) -> None:
    """End every pod that runs, ours as the portal does, others as their owners would."""
    for place, (kind, _) in PLACES.items():
        runs = PodRuns(cluster, "p1", place, kind)
        running = [one for one in await runs.seen() if one.phase is Phase.RUNNING and one.started]
        await asyncio.gather(*(runs.stop(one.handle, 1) for one in running))
        over = [one for one in await runs.seen() if one.phase is not Phase.RUNNING]
        await asyncio.gather(*(runs.forget(one.handle) for one in over))
        pods = await cluster.all(f"/api/v1/namespaces/{place}/pods", labelSelector="team")
        for pod in pods:
            if pod["status"].get("phase") == "Running":
                await cluster.delete(f"/api/v1/namespaces/{place}/pods/{pod['metadata']['name']}")

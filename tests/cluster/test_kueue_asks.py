"""How much the API server is asked while Kueue holds many servers' pods back: no more for many than for few."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.kueue import API, Quotas, make_objects
from dure_hub.backends.kubernetes.looks import is_gated
from dure_hub.backends.kubernetes.marks import LEASE
from dure_hub.backends.kubernetes.queues import bring
from dure_hub.backends.kubernetes.runs import PodRuns
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kueue import Kueue
from tests.cluster.objects import make_fake_node, make_namespace, node_is_ready, remove_nodes
from tests.cluster.programs import until
from tests.cluster.served import Site

SPACE, GPU, TEAM = "asks-dev", "nvidia.com/gpu", "vision"
LABELS = {"nvidia.com/gpu.product": "NVIDIA-A10", "nvidia.com/gpu.memory": "23028", "set": "asks"}
"""A card that no other test's nodes have."""
HELD, NODES, LOOKS = 100, 13, 5
PODS = f"/api/v1/namespaces/{SPACE}/pods"
WAIT_S = 120.0
RESOURCE = re.compile(r"/apis?/(?:[^/]+/)?v[^/]+(?:/namespaces/[^/]+)?/([a-z]+)(/.+)?$")
pytestmark = pytest.mark.timeout(600)


class Counted(Cluster):
    """The cluster, and what it was asked: verb and resource, one object or a list of them."""

    asked: Counter[str]

    async def _begin(self, method: str, path: str, query: Mapping[str, str], *more: Any, **said: Any) -> Any:
        if found := RESOURCE.match(path):
            what, one = found.groups()
            verb = "WATCH" if query.get("watch") else "LIST" if method == "GET" and not one else method
            self.asked[f"{verb} {what}"] += 1
        return await super()._begin(method, path, query, *more, **said)


@pytest.fixture(scope="module")
def plane(kwok: ControlPlane, kueue: Kueue) -> Iterator[ControlPlane]:
    """A namespace, and nodes with a card for everybody."""
    make_namespace(kwok, SPACE)
    for number in range(NODES):
        make_fake_node(kwok, f"asks-{number}", {GPU: "8"}, LABELS)
    until(lambda: all(node_is_ready(kwok, f"asks-{number}") for number in range(NODES)), "the nodes to be ready")
    yield kwok
    remove_nodes(kwok, "set=asks")


@pytest.fixture
async def asked(plane: ControlPlane) -> AsyncIterator[Counted]:
    """The cluster, counted."""
    made = Counted(partial(connect, plane.kubeconfig))
    made.asked = Counter()
    yield made
    await made.close()


@pytest.fixture
async def site(plane: ControlPlane, asked: Counted, tmp_path: Path) -> AsyncIterator[Site]:
    """A portal of people whose team has no quota with Kueue; nothing of it is on the cluster afterwards."""
    people = dict.fromkeys((f"p{number:03}" for number in range(HELD)), TEAM)
    made = Site(asked, tmp_path, people, namespace_dev=SPACE, kueue_admission_s=600)
    portal = made.settings.instance
    nodes = await asked.all("/api/v1/nodes", labelSelector="set=asks")
    quotas = Quotas(portal, {TEAM: 0}, borrowing=False, namespaces=(SPACE,))
    await bring(asked, portal, make_objects(quotas, capacity_of(nodes)))
    yield made
    await made.close()
    runs = PodRuns(asked, portal, SPACE, Kind.SERVER)
    for seen in await runs.seen():
        await runs.stop(seen.handle, 0)
        await runs.forget(seen.handle)
    await bring(asked, portal, [])
    until(lambda: not plane.get(f"{API}/clusterqueues")["items"], "the queues to be gone")


async def profile(site: Site) -> str:
    """One card."""
    fleet = await site.profiles.fleet()
    return next(one.name for one in fleet.profiles.values() if one.gpus == 1 and one.gpu_model == "A10")


async def test_a_hundred_that_are_held_back_ask_no_more_than_one_does(
    plane: ControlPlane, site: Site, asked: Counted
) -> None:
    card = await profile(site)
    await asyncio.gather(*(site.ask(user, card) for user in site.teams))

    def all_are_held() -> bool:
        pods = plane.get(PODS, labelSelector=LEASE)["items"]
        told = [one for one in site.jupyterhub.spawners.values() if "held_back" in dict(one.steps._done)]
        return len(pods) == len(told) == HELD and all(map(is_gated, pods))

    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not await asyncio.to_thread(all_are_held):
        assert asyncio.get_running_loop().time() < deadline, (site.jupyterhub.refusals, asked.asked)
        await asyncio.sleep(0.5)
    print(f"\nto begin: {dict(asked.asked)}")
    asked.asked.clear()
    began = asyncio.get_running_loop().time()
    for _ in range(LOOKS):  # as the portal looks; meanwhile each spawner says what holds it back
        await asyncio.sleep(site.settings.look_interval_s)
        await site.reconciler.look()
    took = asyncio.get_running_loop().time() - began
    print(f"in {took:.1f} s: {dict(asked.asked)}, {asked.asked.total() / took:.1f}/s")
    assert not asked.asked["GET pods"], "whoever waits reads what is followed for all"
    assert asked.asked.total() < HELD, asked.asked

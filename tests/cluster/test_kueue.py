"""Kueue's objects from quotas, with the real Kueue, and what it says of pods that it holds back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dure import wire
from dure.cli import main
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.errors import ClusterRefused, NotAdmitted, QueueTaken
from dure_hub.backends.kubernetes.holding import Holds
from dure_hub.backends.kubernetes.kueue import API, Quotas, make_objects
from dure_hub.backends.kubernetes.looks import is_gated, seen_of
from dure_hub.backends.kubernetes.queues import bring, planned, queued
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.operations.people import Person
from dure_hub.operations.quotas import Quotas as QuotasOfPortal
from dure_hub.policies.classes import INTERACTIVE, TRAINING
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kueue import Kueue
from tests.cluster.names import named
from tests.cluster.node import PROBE, Node
from tests.cluster.objects import connected, make_fake_node, make_namespace, node_is_ready
from tests.cluster.programs import until
from tests.support.money import Books

pytestmark = pytest.mark.anywhere

DEV, TRAIN, SERVE = named("queued-dev"), named("queued-training"), named("queued-serving")
SLICE = "nvidia.com/mig-1g.10gb"
H100, A100 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB"
NODES = {"cut-a": A100, "cut-h": H100, "cut-i": H100}
ROOT = Person("root", admin=True)
OWN = {"set": "queued"}
QUOTAS = Quotas("p1", {"vision": 1, "speech": 2, "guests": None}, borrowing=False, namespaces=(DEV, TRAIN))


@pytest.fixture(scope="module")
def plane(kueue: Kueue) -> Iterator[ControlPlane]:
    """Namespaces, and two nodes of seven slices each, of two products."""
    cluster = kueue.plane
    for name in (DEV, TRAIN, SERVE):
        make_namespace(cluster, name)
    for name, product in NODES.items():
        make_fake_node(cluster, name, {SLICE: "7"}, {"nvidia.com/gpu.product": product, **OWN})
    until(lambda: all(node_is_ready(cluster, name) for name in NODES), "the nodes to be ready")
    yield cluster
    for name in NODES:
        cluster.api.delete(f"/api/v1/nodes/{name}")


@pytest.fixture
async def asked(plane: ControlPlane) -> AsyncIterator[Cluster]:
    """The cluster with the quotas of three teams brought to it; none of its pods and queues are left."""
    async with connected(plane) as made:
        await bring(made, "p1", await objects(made))
        yield made
        for name in (DEV, TRAIN):
            runs = PodRuns(made, "p1", name, Kind.SERVER)
            for seen in await runs.seen():
                await runs.stop(seen.handle, 1)
                await runs.forget(seen.handle)
        await bring(made, "p1", [])
        until(lambda: not plane.get(f"{API}/clusterqueues")["items"], "the queues to be gone")


async def objects(cluster: Cluster, quotas: Quotas = QUOTAS) -> list[dict[str, Any]]:
    """Those of these quotas, of the nodes of these tests alone."""
    return make_objects(quotas, capacity_of(await cluster.all("/api/v1/nodes", labelSelector="set=queued")))


def spec(team: str | None, **changes: Any) -> PodSpec:
    """A server of one slice."""
    lease = new_id()
    made = PodSpec(
        portal="p1",
        name=f"s-{lease.lower()}",
        namespace=DEV,
        lease=lease,
        kind=Kind.SERVER,
        owner="ana",
        image=PROBE,
        command=["/program", "begun", "wait"],
        team=team,
        cores=0.1,
        memory_mb=64,
        resources={SLICE: 1},
        pull_policy="Never",
        shm_mb=1,
        grace_s=2,
    )
    return replace(made, **changes)


async def started(cluster: Cluster, one: PodSpec, queue_class: int = INTERACTIVE) -> Handle:
    """Its handle."""
    runs = PodRuns(cluster, "p1", one.namespace, Kind.SERVER)
    return [handle async for handle in runs.launch(await queued(cluster, one, queue_class))][-1]


async def pod_of(cluster: Cluster, handle: Handle) -> dict[str, Any]:
    """Its pod."""
    pod = await cluster.get(f"/api/v1/namespaces/{handle.where['namespace']}/pods/{handle.where['name']}")
    assert pod is not None
    return pod


def is_active(thing: Mapping[str, Any]) -> bool:
    """Whether Kueue says so."""
    conditions = thing.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Active" and one["status"] == "True" for one in conditions)


async def test_kueue_takes_all_of_them_and_all_queues_are_active(plane: ControlPlane, asked: Cluster) -> None:
    until(lambda: all(map(is_active, plane.get(f"{API}/clusterqueues")["items"])), "its queues to be active")
    until(lambda: all(map(is_active, plane.get(f"{API}/localqueues")["items"])), "their doors to be open")
    assert len(plane.get(f"{API}/clusterqueues")["items"]) == 3
    assert len(plane.get(f"{API}/localqueues")["items"]) == 6
    assert len(plane.get(f"{API}/workloadpriorityclasses")["items"]) == 4
    # the whole cluster, whatever other tests have put into it, is taken too
    done = await bring(asked, "p1", await planned(asked, QUOTAS), dry=True)
    assert len(done.applied) >= 16


async def test_a_field_that_does_not_exist_and_a_quota_below_nothing_are_refused(asked: Cluster) -> None:
    """The one by the API server, the other by Kueue's own webhook: so both have judged all of the others."""
    made = next(one for one in await objects(asked) if one["kind"] == "ClusterQueue")
    with pytest.raises(ClusterRefused, match="nominalquota"):
        await bring(asked, "p1", [{**made, "spec": {**made["spec"], "nominalquota": 1}}])
    limits = {"name": "cpu", "nominalQuota": "1", "lendingLimit": "2"}
    group = {"coveredResources": ["cpu"], "flavors": [{"name": "dure-p1-nodes", "resources": [limits]}]}
    with pytest.raises(ClusterRefused, match="less than or equal to the nominalQuota"):
        await bring(asked, "p1", [{**made, "spec": {**made["spec"], "resourceGroups": [group]}}])


async def test_what_is_brought_twice_is_the_same_and_a_team_that_is_gone_goes(
    plane: ControlPlane, asked: Cluster
) -> None:
    before = {one["metadata"]["name"]: one["metadata"] for one in await asked.all(f"{API}/clusterqueues")}
    assert not (await bring(asked, "p1", await objects(asked))).removed
    after = {one["metadata"]["name"]: one["metadata"] for one in await asked.all(f"{API}/clusterqueues")}
    assert {name: one["generation"] for name, one in after.items()} == {
        name: one["generation"] for name, one in before.items()
    }
    stranger = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": "theirs"}}
    plane.create(f"{API}/clusterqueues", {**stranger, "spec": {}}).raise_for_status()
    less = replace(QUOTAS, teams={"vision": 1})
    done = await bring(asked, "p1", await objects(asked, less))
    assert f"{API}/clusterqueues/dure-p1-speech" in done.removed
    assert f"{API}/namespaces/{DEV}/localqueues/dure-speech" in done.removed
    until(
        lambda: not plane.exists(f"{API}/clusterqueues/dure-p1-speech"), "the queue of a team that is gone to go"
    )
    assert plane.exists(f"{API}/clusterqueues/dure-p1-vision")
    assert plane.exists(f"{API}/clusterqueues/theirs")
    plane.api.delete(f"{API}/clusterqueues/theirs").raise_for_status()


async def test_what_has_the_name_of_somebody_elses_is_refused_before_anything_is_changed(
    plane: ControlPlane, asked: Cluster
) -> None:
    stranger = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue"}
    plane.create(f"{API}/clusterqueues", {**stranger, "metadata": {"name": "dure-p1-new"}, "spec": {}})
    more = replace(QUOTAS, teams={"vision": 3, "new": 1})
    with pytest.raises(QueueTaken, match="dure-p1-new"):
        await bring(asked, "p1", await objects(asked, more))
    assert await asked.get(f"{API}/clusterqueues/dure-p1-speech") is not None
    plane.api.delete(f"{API}/clusterqueues/dure-p1-new").raise_for_status()


async def test_the_command_shows_the_quotas_and_brings_them(
    plane: ControlPlane, asked: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = Books(tmp_path / "data")
    await QuotasOfPortal(books.store, books.clock).put(ROOT, wire.QuotaRequest(kind="team", name="optics", gpus=1))
    changes = {
        "kubeconfig": plane.kubeconfig,
        "namespace_dev": DEV,
        "namespace_training": TRAIN,
        "namespace_serving": SERVE,
    }
    settings = books.settings.model_copy(update=changes)
    settings.folder.resolved.parent.mkdir(exist_ok=True)
    settings.folder.resolved.write_text(settings.model_dump_json())
    name = f"{API}/clusterqueues/dure-{settings.instance}-optics"

    await asyncio.to_thread(main, ["kueue", "--data", str(tmp_path / "data")])
    shown = {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(capsys.readouterr().out)}
    assert ("ClusterQueue", f"dure-{settings.instance}-optics") in shown
    assert not plane.exists(name), "it only shows them"

    await asyncio.to_thread(main, ["kueue", "--apply", "--data", str(tmp_path / "data")])
    assert plane.exists(name)
    await QuotasOfPortal(books.store, books.clock).put(ROOT, wire.QuotaRequest(kind="team", name="optics"))
    await asyncio.to_thread(main, ["kueue", "--apply", "--data", str(tmp_path / "data")])
    assert f"clusterqueues/dure-{settings.instance}-optics" in capsys.readouterr().out
    until(lambda: not plane.exists(name), "the queue of a team without a quota to go")
    assert plane.exists(f"{API}/clusterqueues/dure-p1-vision"), "another portal's stays"
    await bring(asked, settings.instance, [])


async def test_a_pod_goes_to_kueue_only_where_its_team_has_a_queue(asked: Cluster) -> None:
    with_queue = await queued(asked, spec("vision"), TRAINING)
    assert (with_queue.queue, with_queue.priority) == ("dure-vision", "dure-training")
    for other in (spec(None), spec("nobody"), spec("vision", namespace="default")):
        assert await queued(asked, other, TRAINING) == other
    handle = await started(asked, spec("nobody"))
    assert not is_gated(await pod_of(asked, handle))


async def test_what_has_no_room_says_why_and_is_not_admitted_in_its_time(asked: Cluster) -> None:
    runs = PodRuns(asked, "p1", DEV, Kind.SERVER)
    card = {"nvidia.com/gpu.product": H100}
    for _ in range(8):  # one GPU of this kind is eight of these
        handle = await started(asked, spec("vision", labels=card))
        await Holds(asked).until_admitted(handle, 60)
        assert not is_gated(await pod_of(asked, handle))
    one = spec("vision", labels=card)
    handle = await started(asked, one)
    assert (await runs.poll(handle)).phase is Phase.RUNNING
    with pytest.raises(NotAdmitted, match=r"dure-vision.*insufficient") as refused:
        await Holds(asked).until_admitted(handle, 3)
    assert "3초" in refused.value.text("ko")
    assert "insufficient" in (await Holds(asked).held_back(handle) or "")
    await runs.stop(handle, 0)
    await runs.forget(handle)
    for _ in range(100):  # Kueue lets go of it, too, and then its name is free
        if (await runs.poll(handle)).phase is Phase.GONE:
            break
        await asyncio.sleep(0.1)
    assert (await runs.poll(handle)).phase is Phase.GONE
    again = await started(asked, one)  # its ticket has its place still, and comes again by the same name
    assert is_gated(await pod_of(asked, again))
    assert await Holds(asked).held_back(again)


async def test_a_pod_whose_node_is_chosen_is_counted_as_what_that_node_has(asked: Cluster) -> None:
    for node, product in (("cut-h", H100), ("cut-a", A100)):
        handle = await started(asked, spec("speech", node=node))
        await Holds(asked).until_admitted(handle, 60)
        for _ in range(100):
            pod = await pod_of(asked, handle)
            if pod["spec"].get("nodeName"):
                break
            await asyncio.sleep(0.1)
        assert (pod["spec"]["nodeName"], pod["spec"]["nodeSelector"]["nvidia.com/gpu.product"]) == (node, product)


async def test_who_made_room_for_a_team_within_its_quota_was_preempted(asked: Cluster, node: Node) -> None:
    """On a real node: what the kubelet ended says so until it is forgotten."""
    quotas = replace(QUOTAS, teams={"vision": 0, "speech": 1}, borrowing=True)
    nodes = [one for one in await asked.all("/api/v1/nodes") if one["metadata"]["name"] == node.name]
    await bring(asked, "p1", make_objects(quotas, capacity_of(nodes)))
    runs = PodRuns(asked, "p1", DEV, Kind.SERVER)
    training = [await started(asked, spec("vision", node=node.name), TRAINING) for _ in range(2)]
    for handle in training:
        for _ in range(300):
            if (await runs.poll(handle)).started:
                break
            await asyncio.sleep(0.1)
        assert (await runs.poll(handle)).started, await Holds(asked).held_back(handle)
    notebook = await started(asked, spec("speech", node=node.name), INTERACTIVE)
    await Holds(asked).until_admitted(notebook, 60)
    for _ in range(300):
        over = [one for one in await runs.seen() if one.phase is Phase.EXITED]
        if over:
            break
        await asyncio.sleep(0.1)
    assert [one.reason for one in over] == [Reason.PREEMPTED]
    assert over[0].handle.lease in {handle.lease for handle in training}
    assert seen_of(await pod_of(asked, over[0].handle), "p2", Kind.SERVER, runs._now()) is None

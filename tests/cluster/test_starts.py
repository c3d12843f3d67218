"""Servers that a cluster does not take when the portal has granted them, and homes that are on one node alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure_hub.backends.base import ServerWork
from dure_hub.backends.kubernetes.marks import LEASE, MANAGED_BY, OURS, OWNER, PORTAL
from dure_hub.backends.kubernetes.pods import make_container_security, make_home_claim, make_pod_security
from dure_hub.backends.kubernetes.specs import home_claim
from dure_hub.spawners import leased
from dure_hub.store.models import Lease
from tests.cluster.asking import may_be_used
from tests.cluster.control_plane import ControlPlane
from tests.cluster.objects import connected, make_fake_node, make_namespace, remove_nodes
from tests.cluster.programs import until
from tests.cluster.served import Site
from tests.cluster.test_kueue_servers import answered

SPACE, GPU = "starts-dev", "nvidia.com/gpu"
API = f"/api/v1/namespaces/{SPACE}"
LABELS = {"nvidia.com/gpu.product": "NVIDIA-H200", "nvidia.com/gpu.memory": "143771", "set": "starts"}
"""A card that no other test's nodes have."""
Nodes = Callable[..., None]
TEAMS = {"ann": "vision", "ben": "vision", "cho": "speech"}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def plane(kwok: ControlPlane) -> ControlPlane:
    """A namespace of people's servers."""
    make_namespace(kwok, SPACE)
    return kwok


@pytest.fixture
def nodes(plane: ControlPlane) -> Iterator[Nodes]:
    """Makes nodes of these names, with so many cards each; they are there until nothing runs on them any more."""

    def make(*names: str, cards: int = 1) -> None:
        for name in names:
            make_fake_node(plane, name, {GPU: str(cards)}, LABELS)
        every = [f"/api/v1/nodes/{name}" for name in names]
        until(lambda: all(may_be_used(plane.get(node)) for node in every), "the nodes to take pods")

    yield make
    remove_nodes(plane, "set=starts")


@pytest.fixture
async def site(
    plane: ControlPlane, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """A portal of this cluster; nothing of it is there afterwards."""
    async with made(plane, tmp_path, monkeypatch) as one:
        yield one


@pytest.fixture
async def homely(
    plane: ControlPlane, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """The same, whose people have homes."""
    async with made(plane, tmp_path, monkeypatch, home_size_gb=1) as one:
        yield one


@asynccontextmanager
async def made(
    plane: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Site]:
    """One that gives a pod three seconds to find a node, and pauses for three."""
    monkeypatch.setattr(leased, "until_answers", answered)
    async with connected(plane) as cluster:
        site = Site(
            cluster,
            folder,
            TEAMS,
            namespace_dev=SPACE,
            **{"home_size_gb": 0, "node_wait_s": 3, "retry_pause_s": 3, **settings},
        )
        try:
            yield site
        finally:
            await site.close()
            for seen in await site.servers.seen():
                await site.servers.stop(seen.handle, 0)
                await site.servers.forget(seen.handle)


def pods(plane: ControlPlane) -> dict[str, dict[str, Any]]:
    """Pods of servers, by owner."""
    found = plane.get(f"{API}/pods", labelSelector=LEASE)["items"]
    return {pod["metadata"]["labels"][OWNER]: pod for pod in found}


def node_of(plane: ControlPlane, user: str) -> str:
    return str(pods(plane)[user]["spec"].get("nodeName"))


def secrets(plane: ControlPlane) -> set[str]:
    """Whose there are."""
    return {one["metadata"]["labels"][OWNER] for one in plane.get(f"{API}/secrets", labelSelector=LEASE)["items"]}


async def profile(site: Site) -> str:
    """One card."""
    fleet = await site.profiles.fleet()
    found = [one.name for one in fleet.profiles.values() if one.gpus == 1 and "H200" in (one.gpu_model or "")]
    assert found, (sorted(fleet.profiles), fleet.machines)
    return found[0]


def leases(site: Site, user: str) -> list[Lease]:
    """All that were ever granted to somebody, in order."""
    with site.store.reading() as session:
        query = select(Lease).where(Lease.owner == user).order_by(Lease.granted_at, Lease.id)
        return list(session.scalars(query))


async def why(site: Site, user: str, kind: str) -> list[str]:
    """Why somebody waits, in each language; it is first in line and waits for this."""
    ticket = (await site.seen(user)).ticket
    assert ticket is not None
    assert (ticket.waits_for, ticket.position) == (kind, 1), ticket
    assert ticket.why is not None
    return [ticket.why["en"], ticket.why["ko"]]


def is_unpaid(site: Site, user: str) -> bool:
    """Whether nothing but the last lease, if it runs, costs anything."""
    over = [one for one in leases(site, user) if one.ended_at is not None]
    return bool(over) and all((one.end_reason, one.ended_at) == ("not_admitted", one.granted_at) for one in over)


@contextmanager
def quota(plane: ControlPlane, **hard: str) -> Iterator[None]:
    """A ResourceQuota of the namespace, once it counts."""
    wanted = {f"requests.{GPU}": hard["gpus"]}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "dure"}, "spec": {"hard": wanted}}
    plane.create(f"{API}/resourcequotas", body).raise_for_status()
    path = f"{API}/resourcequotas/dure"
    until(lambda: plane.get(path).get("status", {}).get("hard") == wanted, "the quota to count")
    try:
        yield
    finally:
        plane.api.delete(path).raise_for_status()


async def test_what_a_quota_of_the_cluster_refuses_waits_in_its_place_and_starts_when_there_is_room(
    plane: ControlPlane, nodes: Nodes, site: Site
) -> None:
    nodes("starts-a", cards=2)
    with quota(plane, gpus="1"):
        card = await profile(site)
        await site.ask("ann", card)
        await site.until({"ann": "running"})
        assert (await site.ask("ben", card)).phase == "starting", "the portal knows of no quota"
        await site.until({"ben": "waiting"})
        refusals = site.jupyterhub.refusals
        assert set(refusals) == {("ben", "over_cluster_quota")}
        for said in await why(site, "ben", "cluster_quota"):
            assert f"requested: requests.{GPU}=1, used: requests.{GPU}=1, limited: requests.{GPU}=1" in said
            assert SPACE in said
        assert secrets(plane) == {"ann"}, "no token of what did not start is left"
        before = len(refusals)
        await site.until({"ben": "waiting"}, lambda: len(refusals) > before + 1)
        assert pods(plane).keys() == {"ann"}
        await site.environments.stop(site.person("ann"), "default")
        await site.until({"ann": "stopped", "ben": "running"})
        assert is_unpaid(site, "ben")
        ours = len(leases(site, "ben"))
        assert ours == len(refusals) + 1, "a try for each pause and no more"


async def test_a_start_that_is_begun_again_finds_its_pod_where_the_quota_is_used_up(
    plane: ControlPlane, nodes: Nodes, site: Site, tmp_path: Path
) -> None:
    nodes("starts-a")
    device = f"starts-a/{GPU}/0"
    work = ServerWork("01START", "ann", tmp_path, {}, devices=(device,), node="starts-a", command=["/program"])
    with quota(plane, gpus="1"):
        first = await anext(site.servers.start(work))
        again = await anext(site.servers.start(work))
        assert again.where["uid"] == first.where["uid"]
        assert secrets(plane) == {"ann"}
        await site.servers.stop(first, 0)
        await site.servers.forget(first)


async def test_what_a_quota_never_lets_in_fails_at_once_in_its_words(
    plane: ControlPlane, nodes: Nodes, site: Site
) -> None:
    nodes("starts-a")
    with quota(plane, gpus="0"):
        await site.ask("ann", await profile(site))
        await site.until({"ann": "failed"})
        assert f"exceeded quota: dure, requested: requests.{GPU}=1" in ((await site.seen("ann")).reason or "")


@contextmanager
def kept_off(plane: ControlPlane, node: str) -> Iterator[None]:
    """A node on which a stranger's pod suffers none of ours beside it, which no look at nodes can tell."""
    ours = {"labelSelector": {"matchLabels": {MANAGED_BY: OURS}}, "topologyKey": "kubernetes.io/hostname"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "jealous", "labels": {"set": "starts"}},
        "spec": {
            "nodeName": node,
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [ours]}},
            "containers": [
                {"name": "c", "image": "localhost/nothing:1", "securityContext": make_container_security()}
            ],
            "securityContext": make_pod_security(),
        },
    }
    plane.create(f"{API}/pods", body).raise_for_status()
    path = f"{API}/pods/jealous"
    until(lambda: plane.get(path)["status"].get("phase") == "Running", "the stranger's pod to run")
    try:
        yield
    finally:
        plane.api.delete(path, params={"gracePeriodSeconds": "0"}).raise_for_status()
        until(lambda: not plane.exists(path), "the stranger's pod to be gone")


async def test_a_pod_that_finds_no_node_waits_in_line_in_the_words_of_the_scheduler(
    plane: ControlPlane, nodes: Nodes, site: Site
) -> None:
    nodes("starts-a")
    with kept_off(plane, "starts-a"):
        asked = await site.ask("ann", await profile(site))
        assert asked.phase == "starting"
        refusals = site.jupyterhub.refusals
        await site.until({"ann": "waiting"}, lambda: bool(refusals))
        for said in await why(site, "ann", "no_node"):
            assert "starts-a" in said
            assert "anti-affinity rules" in said, said
        assert pods(plane) == {}
        assert secrets(plane) == set()
        await site.until({"ann": "waiting"}, lambda: len(refusals) >= 2)
        assert {*refusals} == {("ann", "no_node")}
    await site.until({"ann": "running"})
    assert is_unpaid(site, "ann")
    assert len(leases(site, "ann")) == len(refusals) + 1


async def test_what_one_node_does_not_take_goes_to_another(plane: ControlPlane, nodes: Nodes, site: Site) -> None:
    nodes("starts-a", "starts-b")
    with kept_off(plane, "starts-a"):
        card = await profile(site)
        await site.ask("ann", card)
        await site.until({"ann": "running"})
        assert site.jupyterhub.refusals == [("ann", "no_node")]
        assert node_of(plane, "ann") == "starts-b"
        assert is_unpaid(site, "ann")
        await site.ask("ben", card)
        await site.until({"ben": "waiting"})
        assert [user for user, _ in site.jupyterhub.refusals].count("ann") == 1


def make_home(plane: ControlPlane, site: Site, user: str, node: str | None) -> None:
    """Somebody's home, on a disk of this node, or on one that all nodes reach."""
    name = f"starts-{user}"
    spec: dict[str, Any] = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/nowhere"},
        "claimRef": {"namespace": SPACE, "name": home_claim(user)},
    }
    if node is not None:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    plane.create("/api/v1/persistentvolumes", body).raise_for_status()
    labels = {MANAGED_BY: OURS, PORTAL: site.settings.instance, OWNER: user}
    claim = make_home_claim(home_claim(user), SPACE, labels, 1, None)
    claims = f"{API}/persistentvolumeclaims"
    plane.create(claims, claim).raise_for_status()
    path = f"{claims}/{home_claim(user)}"
    until(lambda: plane.get(path).get("status", {}).get("phase") == "Bound", "the home to have its volume")


async def test_a_server_goes_where_its_owners_home_is_and_waits_for_that_node_alone(
    plane: ControlPlane, nodes: Nodes, homely: Site
) -> None:
    site = homely
    for user, node in (("ann", "starts-b"), ("ben", "starts-b"), ("cho", None)):
        make_home(plane, site, user, node)
    nodes("starts-a", "starts-b")
    card = await profile(site)
    await site.ask("ann", card)
    await site.until({"ann": "running"})
    assert node_of(plane, "ann") == "starts-b"
    ben = await site.ask("ben", card)
    assert ben.phase == "waiting"
    for said in await why(site, "ben", "home"):
        assert "starts-b" in said
    assert (await site.ask("cho", card)).phase == "starting", "the other node's card is kept for nobody"
    await site.until({"cho": "running", "ben": "waiting"})
    assert node_of(plane, "cho") == "starts-a"
    await site.environments.stop(site.person("ann"), "default")
    await site.until({"ann": "stopped", "ben": "running"})
    assert node_of(plane, "ben") == "starts-b"
    assert site.jupyterhub.refusals == []

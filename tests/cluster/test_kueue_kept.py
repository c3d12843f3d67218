"""Kueue's objects kept as the portal's quotas are, by a portal of the chart's with the rights that it has."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dure import wire
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterRefused
from dure_hub.backends.kubernetes.kueue import API, PLURALS
from dure_hub.backends.kubernetes.queues import bring
from dure_hub.operations.people import Person
from dure_hub.operations.quotas import Quotas
from dure_hub.queue_book import QueueBook
from dure_hub.settings import Settings
from tests.cluster.accounts import dure, give_rights, make_account
from tests.cluster.control_plane import ControlPlane
from tests.cluster.helm import program
from tests.cluster.kueue import Kueue
from tests.cluster.names import named
from tests.cluster.objects import connected, make_fake_node, node_is_ready, remove_nodes
from tests.cluster.programs import until
from tests.support.money import Books

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"kept-{name}") for name in ("dev", "training", "serving", "platform")}
ROOT = Person("root", admin=True)


@dataclass(frozen=True)
class Portal:
    """Its books, and the cluster as its account asks it."""

    books: Books
    settings: Settings
    cluster: Cluster
    plane: ControlPlane

    def book(self) -> QueueBook:
        """Anew, as after a restart."""
        return QueueBook(self.settings, self.books.store, self.cluster)

    async def quota(self, team: str, gpus: int | None) -> None:
        """As an administrator sets it; None takes it away."""
        more = {} if gpus is None else {"gpus": gpus}
        request = wire.QuotaRequest(kind="team", name=team, **more)
        await Quotas(self.books.store, self.books.clock).put(ROOT, request)

    def queue(self, team: str) -> str:
        """Where the API has a team's ClusterQueue."""
        return f"{API}/clusterqueues/dure-{self.settings.instance}-{team}"

    def doctor(self) -> list[dict[str, str]]:
        """What `dure doctor` says of Kueue, and of rights that it lacks for that."""
        said = {"backend": "kubernetes", "server_image": "x", "xds_port": "28085", "disk_minimum_mb": "0"}
        spaces = {f"namespace_{kind}": NAMESPACES[kind] for kind in ("dev", "training", "serving")}
        more = {"kubeconfig": str(self.settings.kubeconfig), "kueue_apply_s": str(self.settings.kueue_apply_s)}
        done = dure("doctor", "--json", data=self.settings.folder.root, **said, **spaces, **more)
        found: list[dict[str, str]] = json.loads(done.stdout)["machine"]
        return [one for one in found if one["topic"] in ("kueue", "rights")]


@pytest.fixture(scope="module")
def plane(kueue: Kueue) -> Iterator[ControlPlane]:
    """A node of eight GPUs."""
    if not program().exists():
        pytest.skip("Helm is not built: make test-cluster.")
    cluster = kueue.plane
    make_fake_node(
        cluster, "kept-1", {"nvidia.com/gpu": "8"}, {"nvidia.com/gpu.product": "NVIDIA-L40S", "set": "kept"}
    )
    until(lambda: node_is_ready(cluster, "kept-1"), "the node to be ready")
    # an API server that has just learnt a kind says for a moment that it is not ready to list it
    kinds = [f"{API}/{name}" for name in PLURALS.values()]
    until(lambda: all(cluster.api.get(kind).is_success for kind in kinds), "Kueue's kinds to be served")
    yield cluster
    remove_nodes(cluster, "set=kept")
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
async def portal(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Portal]:
    """One that brings its quotas by itself, with a team of one GPU."""
    file = make_account(plane, NAMESPACES, kueue={"applySeconds": 300})
    books, cluster = Books(tmp_path / "data"), Cluster(partial(connect, file))
    spaces = {f"namespace_{kind}": NAMESPACES[kind] for kind in ("dev", "training", "serving")}
    settings = books.settings.model_copy(update={"kubeconfig": file, "kueue_apply_s": 300, **spaces})
    settings.folder.resolved.parent.mkdir(exist_ok=True)
    settings.folder.resolved.write_text(settings.model_dump_json())
    made = Portal(books, settings, cluster, plane)
    await made.quota("optics", 1)
    try:
        yield made
    finally:
        await cluster.close()
        async with connected(plane) as admin:
            await bring(admin, settings.instance, [])
        until(lambda: not plane.get(f"{API}/clusterqueues")["items"], "the queues to be gone")


def nominal(plane: ControlPlane, at: str) -> str:
    """How many GPUs a queue has."""
    groups: list[dict[str, Any]] = plane.get(at)["spec"]["resourceGroups"]
    (group,) = (one for one in groups if "nvidia.com/gpu" in one["coveredResources"])
    return str(group["flavors"][0]["resources"][0]["nominalQuota"])


async def test_the_portal_brings_its_quotas_by_itself_and_again_after_each_change(portal: Portal) -> None:
    plane, book = portal.plane, portal.book()
    assert await book.drift() is None, "nothing was ever brought"
    await book.keep()
    assert nominal(plane, portal.queue("optics")) == "1"
    found = await book.drift()
    assert found is not None
    assert found.all == [], "what the cluster fills in by itself is no difference"
    before = plane.get(portal.queue("optics"))["metadata"]["generation"]
    await portal.book().keep()
    assert plane.get(portal.queue("optics"))["metadata"]["generation"] == before
    await portal.quota("optics", 3)
    await portal.quota("lidar", 2)
    await book.keep()
    assert (nominal(plane, portal.queue("optics")), nominal(plane, portal.queue("lidar"))) == ("3", "2")
    await portal.quota("lidar", None)
    await book.keep()
    until(lambda: not plane.exists(portal.queue("lidar")), "the queue of a team without a quota to go")


async def test_what_somebody_changes_by_hand_is_told_by_the_doctor_and_changed_back(portal: Portal) -> None:
    plane = portal.plane
    assert "has none of the portal's quotas" in portal.doctor()[-1]["text"]
    await portal.book().keep()
    told = portal.doctor()
    assert [one["state"] for one in told] == ["ok", "ok"], told
    limits = {"name": "nvidia.com/gpu", "nominalQuota": "8"}
    queue = plane.get(portal.queue("optics"))
    (group,) = (one for one in queue["spec"]["resourceGroups"] if "nvidia.com/gpu" in one["coveredResources"])
    group["flavors"][0]["resources"][0] = limits
    plane.api.put(portal.queue("optics"), json=queue).raise_for_status()
    more = {
        **queue,
        "metadata": {"name": f"dure-{portal.settings.instance}-old", "labels": queue["metadata"]["labels"]},
    }
    plane.create(f"{API}/clusterqueues", more).raise_for_status()
    told = portal.doctor()
    assert (told[-1]["topic"], told[-1]["state"]) == ("kueue", "limited"), told
    assert f"dure-{portal.settings.instance}-optics, dure-{portal.settings.instance}-old" in told[-1]["text"]
    assert "dure kueue --apply" in told[-1]["to_do"]
    await portal.book().keep()
    assert nominal(plane, portal.queue("optics")) == "1"
    until(lambda: not plane.exists(f"{API}/clusterqueues/{more['metadata']['name']}"), "the old queue to go")
    assert [one["state"] for one in portal.doctor()] == ["ok", "ok"]


async def test_a_portal_that_may_only_look_says_what_differs_and_changes_nothing(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    plane = portal.plane
    await portal.book().keep()
    for where in ("Role", "ClusterRole"):
        _forget_rights(plane, where)
    give_rights(plane, NAMESPACES)
    await portal.quota("optics", 2)
    found = await portal.book().drift()
    assert found is not None
    assert [at.rpartition("/")[2] for at in found.changed][-1:] == [f"dure-{portal.settings.instance}-optics"]
    with pytest.raises(ClusterRefused, match="cannot patch"):
        await portal.book().bring()
    book = portal.book()
    with caplog.at_level("WARNING"):
        await book.keep()
        await book.keep()
    told = [one.getMessage() for one in caplog.records if "Kueue does not have" in one.getMessage()]
    assert len(told) == 1, "once, and not at each look"
    assert nominal(plane, portal.queue("optics")) == "1"
    lacks = [one["text"] for one in portal.doctor() if one["topic"] == "rights"]
    assert any("create, patch, delete" in text or "create, delete, patch" in text for text in lacks), lacks


def _forget_rights(plane: ControlPlane, kind: str) -> None:
    """What was applied with more is to have less, not both."""
    rbac, platform = "/apis/rbac.authorization.k8s.io/v1", NAMESPACES["platform"]
    if kind == "ClusterRole":
        plane.api.delete(f"{rbac}/clusterroles/dure-inventory-{platform}").raise_for_status()
        return
    for name in ("dev", "training", "serving"):
        plane.api.delete(f"{rbac}/namespaces/{NAMESPACES[name]}/roles/dure-portal").raise_for_status()

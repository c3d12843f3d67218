"""A whole portal whose servers are pods of a real cluster: hub, queue, proxy, and how it survives."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster import images
from tests.cluster.beside_portal import ask, is_in, knows, lab_answers, make_beside, pods_in, say, seen, token_of
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace, make_volume
from tests.cluster.programs import until
from tests.e2e.portal import Portal

MIG = "nvidia.com/mig-1g.10gb"
SPACE = named("dev")
People = tuple[httpx.Client, httpx.Client]
OPTIONS = {
    "environment": {"OMP_NUM_THREADS": 2},
    "volumes": [{"name": "scratch", "emptyDir": {}}],
    "volume_mounts": [{"name": "scratch", "mountPath": "/scratch"}],
}
"""What an administrator has KubeSpawner add to every server."""
pytestmark = [pytest.mark.anywhere, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def image(beside: ControlPlane, node: Node) -> str:
    """The image of people's servers, on the node."""
    if why := images.why_not():
        pytest.skip(why)
    return images.put("singleuser-cpu", node)


@pytest.fixture(scope="module")
def portal(
    beside: ControlPlane, node: Node, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """One beside the cluster, with one MIG slice to give."""
    make_namespace(beside, SPACE)
    beside.label(node.name, {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"})
    beside.capacity(node.name, {MIG: "1"})
    folder = tmp_path_factory.mktemp("portal")
    for name in ("ana", "ben"):
        make_volume(beside, folder / "homes" / name, f"home-of-{name}")
    clock_of(folder).write_text("0")
    made = make_beside(
        beside,
        folder,
        SPACE,
        image,
        DURE_CLOCK_FILE=str(clock_of(folder)),
        DURE_HOME_SIZE_GB="1",
        DURE_KUBESPAWNER=json.dumps(OPTIONS),
    )
    try:
        made.up()
        for name in ("ana", "ben"):
            made.add_user(name)
        yield made
    finally:
        made.down()
        beside.capacity(node.name, {MIG: "2"})


@pytest.fixture
def people(portal: Portal) -> Iterator[People]:
    """Two of them, by the API."""
    with portal.client("ana") as ana, portal.client("ben") as ben:
        yield ana, ben


@pytest.fixture(autouse=True)
def said(beside: ControlPlane, node: Node) -> Iterator[None]:
    """What the cluster says of pods and node at the end, which pytest shows of a test that failed."""
    yield
    say(beside, SPACE, node.name)


def clock_of(folder: Path) -> Path:
    """Where the portal reads by how many seconds its clock is ahead."""
    return folder / "clock"


def pods(cluster: ControlPlane) -> list[dict[str, Any]]:
    """Pods of servers."""
    return pods_in(cluster, SPACE)


def test_a_mig_slice_is_a_pod_with_exactly_that_and_the_next_waits_for_it(
    portal: Portal, people: People, beside: ControlPlane
) -> None:
    ana, ben = people
    slice_of = profile(ana)
    ask(ana, slice_of)
    is_in(ana, "running", portal)
    (pod,) = pods(beside)
    assert pod["spec"]["containers"][0]["resources"]["limits"][MIG] == "1"
    assert (pod["spec"]["nodeName"], pod["spec"]["automountServiceAccountToken"]) == ("real", False)
    mounts = {one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
    assert {"/home/jovyan", "/scratch"} <= mounts
    token = token_of(beside, pod)
    assert token not in json.dumps(pod)
    assert knows(portal, token) == 200
    assert lab_answers(portal, "ana")
    waits = ask(ben, slice_of)
    assert (waits["phase"], waits["ticket"]["position"]) == ("waiting", 1)
    assert waits["ticket"]["expected_start"]
    clock_of(portal.data.parent).write_text(str(5 * 3600))  # which is beyond the lifetime of a server with a GPU
    is_in(ben, "running", portal)
    assert seen(ana)["reason"] == "Its time was over."
    assert lab_answers(portal, "ben")
    assert knows(portal, token) == 403, "the token of a server dies with it"
    assert [pod["metadata"]["labels"]["dure/owner"] for pod in pods(beside)] == ["ben"]
    ben.delete("/environments/default").raise_for_status()
    until(lambda: not pods(beside), "its pod to be gone")
    assert not beside.get(f"/api/v1/namespaces/{SPACE}/secrets")["items"]


def test_a_hub_that_is_killed_in_the_midst_of_a_start_orphans_and_doubles_nothing(
    portal: Portal, people: People, beside: ControlPlane
) -> None:
    ana, _ = people
    ask(ana, "cpu")
    until(lambda: pods(beside), "its pod to be made")
    os.kill(portal.pid("hub"), signal.SIGKILL)
    assert seen(ana)["phase"] == "starting"
    (pod,) = pods(beside)
    is_in(ana, "running", portal, 240)
    assert lab_answers(portal, "ana")
    assert [one["metadata"]["uid"] for one in pods(beside)] == [pod["metadata"]["uid"]]
    os.kill(portal.pid("hub"), signal.SIGKILL)
    until(lambda: lab_answers(portal, "ana"), "the same server behind the next hub", 60)
    assert [one["metadata"]["uid"] for one in pods(beside)] == [pod["metadata"]["uid"]]
    token = token_of(beside, pod)
    ana.delete("/environments/default").raise_for_status()
    until(lambda: not pods(beside), "its pod to be gone")
    assert knows(portal, token) == 403, "also where the hub that made it is gone"


def test_an_api_server_that_is_away_for_a_minute_ends_nothing(
    portal: Portal, people: People, beside: ControlPlane
) -> None:
    ana, ben = people
    ask(ana, "cpu")
    is_in(ana, "running", portal)
    before = pods(beside)[0]["metadata"]["uid"]
    with beside.away():
        os.kill(portal.pid("hub"), signal.SIGKILL)  # the next one begins without any cluster
        since = time.monotonic()
        until(lambda: time.monotonic() - since > 60, "a minute", 70)
        assert lab_answers(portal, "ana"), portal.logs()
        assert seen(ana)["phase"] == "running"
        waits = ask(ben, "cpu")
        assert (waits["phase"], waits["ticket"]["waits_for"]) == ("waiting", "away")
    is_in(ben, "running", portal)
    assert seen(ana)["phase"] == "running"
    assert before in [pod["metadata"]["uid"] for pod in pods(beside)]
    assert len(pods(beside)) == 2
    for one in people:
        one.delete("/environments/default").raise_for_status()
    until(lambda: not pods(beside), "all pods to be gone")


def test_down_ends_what_runs_on_the_cluster(portal: Portal, people: People, beside: ControlPlane) -> None:
    ana, _ = people
    ask(ana, "cpu")
    is_in(ana, "running", portal)
    portal.dure("down")
    assert {pod["status"]["phase"] for pod in pods(beside)} <= {"Succeeded", "Failed"}
    portal.up()
    until(lambda: seen(ana)["phase"] == "stopped" and not pods(beside), "what has ended to be closed", 60)


def profile(client: httpx.Client) -> str:
    """That of a MIG slice."""
    return next(str(one["name"]) for one in client.get("/profiles").json() if "1g.10gb" in one["name"])

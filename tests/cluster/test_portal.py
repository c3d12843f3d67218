"""A whole portal whose servers are pods of a real cluster: hub, queue, proxy, and how it survives."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from tests.cluster import images
from tests.cluster.apart import ADDRESS
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace, make_volume
from tests.cluster.programs import until
from tests.e2e.portal import Portal, make_portal
from tests.support.hub import xsrf

MIG = "nvidia.com/mig-1g.10gb"
SPACE = named("dev")
PODS = f"/api/v1/namespaces/{SPACE}/pods"
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
    made = make_portal(
        folder,
        DURE_CLOCK_FILE=str(clock_of(folder)),
        DURE_BACKEND="kubernetes",
        DURE_KUBECONFIG=str(beside.kubeconfig),
        DURE_NAMESPACE_DEV=SPACE,
        DURE_SERVER_IMAGE=image,
        DURE_IMAGE_PULL_POLICY="Never",
        DURE_HOME_SIZE_GB="1",
        DURE_KUBESPAWNER=json.dumps(OPTIONS),
        DURE_HOST="0.0.0.0",  # noqa: S104 - of a network that has no way out
        DURE_INSECURE_HTTP="true",
    )
    made.environment["DURE_PODS_URL"] = f"http://{ADDRESS}:{made.port}"
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
    for pod in pods(beside):
        print(pod["metadata"]["name"], pod["metadata"].get("deletionTimestamp"), json.dumps(pod["status"]))
    for one in beside.get(f"/api/v1/namespaces/{SPACE}/events")["items"][-40:]:
        print(one.get("lastTimestamp") or one.get("eventTimestamp"), one["involvedObject"]["name"], one["message"])
    about = beside.get(f"/api/v1/nodes/{node.name}")
    print(about["spec"].get("taints"), json.dumps(about["status"]["conditions"]))


def clock_of(folder: Path) -> Path:
    """Where the portal reads by how many seconds its clock is ahead."""
    return folder / "clock"


def ask(client: httpx.Client, profile: str, name: str = "default") -> dict[str, Any]:
    """A server of this profile."""
    answer = client.post("/environments", json={"id": new_id(), "name": name, "profile": profile})
    assert answer.status_code in (200, 201, 202), answer.text
    return dict(answer.json())


def seen(client: httpx.Client, name: str = "default") -> dict[str, Any]:
    return dict(client.get(f"/environments/{name}").raise_for_status().json())


def is_in(client: httpx.Client, phase: str, what: Portal, timeout_s: float = 120) -> dict[str, Any]:
    """What is seen of it once it is in this phase."""
    deadline = time.monotonic() + timeout_s
    while (found := seen(client))["phase"] != phase:
        if found["phase"] == "failed" or time.monotonic() > deadline:
            pytest.fail(f"{found}\n{what.logs()}")
        time.sleep(0.2)
    return found


def pods(cluster: ControlPlane) -> list[dict[str, Any]]:
    """Pods of servers."""
    return list(cluster.get(PODS)["items"])


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


def token_of(cluster: ControlPlane, pod: dict[str, Any]) -> str:
    """That of a server, from its Secret."""
    secret = cluster.get(f"/api/v1/namespaces/{SPACE}/secrets/{pod['metadata']['name']}")
    return base64.b64decode(secret["data"]["JUPYTERHUB_API_TOKEN"]).decode()


def knows(portal: Portal, token: str) -> int:
    """What the hub answers to whoever shows this token."""
    shown = {"Authorization": f"token {token}"}
    return httpx.get(f"{portal.url}/hub/api/user", headers=shown, timeout=30).status_code


def profile(client: httpx.Client) -> str:
    """That of a MIG slice."""
    return next(str(one["name"]) for one in client.get("/profiles").json() if "1g.10gb" in one["name"])


def lab_answers(portal: Portal, name: str) -> bool:
    """Whether this person, logged in as people are, gets their JupyterLab."""
    with httpx.Client(base_url=portal.url, timeout=60, follow_redirects=True) as browser:
        form = browser.get(f"/user/{name}/lab")
        if form.status_code != 200:
            return False
        said = {"username": name, "password": portal.passwords[name], "_xsrf": xsrf(form.text)}
        return "jupyter-config-data" in browser.post(str(form.url), data=said).text

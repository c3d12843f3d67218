"""What only a cluster's profiles have: data, shared memory, an image of their own, and by team any image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from dure.wire.ids import new_id
from tests.cluster import images
from tests.cluster.beside_portal import ask, is_in, make_beside, seen
from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.e2e.conftest import QUIET, chromium_path
from tests.e2e.portal import Portal
from tests.e2e.test_main_job import log_in, shot
from tools import images as tool

SPACE = "dure-profiles"
CODE = "singleuser-code"
LOOK = (
    "exec 2>&1; id -u; cat /data/digits/one; touch /data/digits/two; touch /mnt/scratch/three && echo wrote;"
    " df --output=size -m /dev/shm | tail -1 | tr -d ' ';"
    " exec python -P -m dure_hub.spawners.jupyterhub_singleuser"
)
"""Says what is there, and is a server then."""
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def image(node: Node) -> str:
    """The image of people's servers, on the node."""
    if why := images.why_not():
        pytest.skip(why)
    return images.put("singleuser-cpu", node)


@pytest.fixture(scope="module")
def portal(
    cluster: ControlPlane, node: Node, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """One beside the cluster, whose people have nothing at home."""
    make_namespace(cluster, SPACE)
    folder = tmp_path_factory.mktemp("portal")
    make_data(cluster, folder / "digits", "digits")
    make_data(cluster, folder / "scratch", "scratch")
    listed = [{"name": "look", "container": image, "command": ["sh", "-c", LOOK]}]
    made = make_beside(cluster, folder, SPACE, image, DURE_IMAGES=json.dumps(listed), DURE_HOME_SIZE_GB="0")
    try:
        made.up()
        made.add_user("root", "--admin")
        made.add_user("ana")
        write_profiles(made)
        with made.client("root") as root:
            root.put("/teams/vision", json={"members": ["ana"]}).raise_for_status()
        yield made
    finally:
        made.down()


@pytest.fixture
def ana(portal: Portal, cluster: ControlPlane) -> Iterator[httpx.Client]:
    """In the team that may type images. Nothing of hers is left."""
    with portal.client("ana") as client:
        until(lambda: "data" in profiles(client), "the file of profiles to count", 60)
        yield client
        if seen(client)["phase"] not in ("stopped", "failed"):
            client.delete("/environments/default").raise_for_status()
        until(lambda: not pods(cluster), "her pod to be gone", 60)


@pytest.fixture
def page() -> Iterator[Page]:
    """A window of this machine's chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        made = browser.new_page(viewport={"width": 1280, "height": 900})
        made.set_default_timeout(120_000)
        yield made
        browser.close()


def write_profiles(portal: Portal) -> None:
    (portal.data / "profiles.yaml").write_text(
        """
profiles:
  cpu: {any_image_groups: [vision], memory_mb: 1024}
  data:
    like: cpu
    groups: [vision]
    volumes:
    - {claim: digits, path: /data/digits}
    - {claim: scratch, path: /mnt/scratch, read_only: false}
    shm_mb: 48
    memory_mb: 1024
  lost: {like: cpu, volumes: [{claim: imagenet, path: /data/imagenet}]}
  code: {like: cpu, memory_mb: 2048, image: IMAGE}
""".replace("IMAGE", tool.tagged(CODE))
    )


def make_data(cluster: ControlPlane, place: Path, name: str) -> None:
    """A volume with something in it, and a claim for it, which an administrator made by hand."""
    place.mkdir()
    place.chmod(0o777)
    (place / "one").write_text("1 2 3\n")
    shared = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"of-{name}"}}
    spec = {**shared, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(place)}}
    cluster.create("/api/v1/persistentvolumes", {**body, "spec": spec}).raise_for_status()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}
    wanted = {**shared, "volumeName": f"of-{name}", "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims"
    cluster.create(path, {**claim, "spec": wanted}).raise_for_status()


def profiles(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """What may be picked, by name."""
    return {one["name"]: one for one in client.get("/profiles").raise_for_status().json()}


def pods(cluster: ControlPlane) -> list[dict[str, Any]]:
    """Pods of servers."""
    return list(cluster.get(f"/api/v1/namespaces/{SPACE}/pods")["items"])


def request(client: httpx.Client, image: str) -> httpx.Response:
    body = {"id": new_id(), "name": "default", "profile": "cpu", "image": image}
    return client.post("/environments", json=body)


def test_its_data_is_there_to_read_and_its_shared_memory_is_as_large_as_said(
    portal: Portal, cluster: ControlPlane, ana: httpx.Client
) -> None:
    ask(ana, "data")
    is_in(ana, "running", portal)
    (pod,) = pods(cluster)
    said = cluster.api.get(f"/api/v1/namespaces/{SPACE}/pods/{pod['metadata']['name']}/log").text.splitlines()
    assert said[:2] == ["1000", "1 2 3"]
    assert "Read-only file system" in said[2], said[:5]
    assert said[3:5] == ["wrote", "48"], "what lies in its shared memory is bounded by so many MiB"
    (one,) = (mount for mount in profiles(ana)["data"]["volumes"] if mount["claim"] == "digits")
    assert (one["path"], one["read_only"]) == ("/data/digits", True)


def test_a_claim_that_is_not_there_ends_the_start_before_there_is_a_pod(
    portal: Portal, cluster: ControlPlane, ana: httpx.Client
) -> None:
    ask(ana, "lost")
    until(lambda: seen(ana)["phase"] == "failed", "the start to fail", 120)
    reason = seen(ana)["reason"]
    for word in ("imagenet", "/data/imagenet", SPACE, "there is none of that name"):
        assert word in reason, reason
    assert pods(cluster) == []
    assert not cluster.get(f"/api/v1/namespaces/{SPACE}/secrets")["items"]


def test_by_team_any_image_is_a_pod_of_that_image_with_its_own_command(
    portal: Portal, cluster: ControlPlane, ana: httpx.Client, image: str
) -> None:
    until(lambda: profiles(ana)["cpu"]["any_image"], "the hub to know her team", 60)
    with portal.client("root") as root:
        assert not profiles(root)["cpu"]["any_image"]
        refused = request(root, image)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "image_not_for_you")
    assert request(ana, image).is_success
    is_in(ana, "running", portal)
    (pod,) = pods(cluster)
    (container,) = pod["spec"]["containers"]
    assert container["image"] == image
    assert "command" not in container, "that is of the first of the list"
    assert seen(ana)["image"] == image


def test_an_image_that_cannot_be_had_is_named(portal: Portal, cluster: ControlPlane, ana: httpx.Client) -> None:
    until(lambda: profiles(ana)["cpu"]["any_image"], "the hub to know her team", 60)
    assert request(ana, "localhost/nobody/nothing:9").is_success
    until(lambda: seen(ana)["phase"] == "failed", "the start to fail", 120)
    assert "nothing:9" in seen(ana)["reason"], seen(ana)


def test_a_profile_opens_vs_code(portal: Portal, ana: httpx.Client, node: Node, page: Page) -> None:
    if CODE not in images.asked():
        pytest.skip(f"{images.ASKED} does not name {CODE}.")
    images.put(CODE, node)
    ask(ana, "code")
    is_in(ana, "running", portal, 240)
    log_in(page, portal, "ana")
    page.goto(f"{portal.url}/user/ana/")
    page.wait_for_url(f"{portal.url}/user/ana/code/**")
    expect(page.locator(".monaco-workbench")).to_be_visible(timeout=120_000)
    shot(page, "vs-code")
    page.keyboard.press("Control+Shift+Backquote")
    terminal = page.locator(".terminal.xterm")
    expect(terminal).to_be_visible(timeout=60_000)
    terminal.click()
    page.keyboard.type("echo $((6*7)) > from-code.txt\n")
    file = f"{portal.url}/user/ana/api/contents/from-code.txt"
    until(lambda: page.request.get(file).ok, "what its terminal has written to be at home", 60)
    assert page.request.get(file).json()["content"] == "42\n"
    shot(page, "vs-code-terminal")
    assert "jupyter-config-data" in page.request.get(f"{portal.url}/user/ana/lab").text(), "which is there, too"

"""A whole portal on a cluster whose Kueue holds back what a team may not have: real hub, real pods, real Kueue."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dure_hub.backends.kubernetes.kueue import API, cluster_queue_name, queue_name
from dure_hub.backends.kubernetes.looks import is_gated
from dure_hub.backends.kubernetes.marks import LEASE, OWNER, PRIORITY, QUEUE
from dure_hub.backends.kubernetes.pods import make_container_security, make_pod_security
from tests.cluster import images
from tests.cluster.beside_portal import ask, is_in, lab_answers, make_beside, pods_in, say, seen
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kueue import Kueue
from tests.cluster.names import named
from tests.cluster.node import PROBE, SLICE, Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.e2e.conftest import CHROMIUM, QUIET, chromium_path
from tests.e2e.portal import Portal
from tests.e2e.test_pages import log_in

CARD, CARDS, QUOTA = "nvidia.com/gpu", 2, 1
TEAM, BACK = "vision", "not_admitted"
SPACE, TRAIN, SERVE = named("kueue-dev"), named("kueue-training"), named("kueue-serving")
WORKLOADS = f"{API}/namespaces/{SPACE}/workloads"
ADMISSION_S, PAUSE_S = 8, 5
TIMEOUT_MS = 60_000
pytestmark = [pytest.mark.anywhere, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def image(beside: ControlPlane, node: Node) -> str:
    """The image of people's servers, on the node."""
    if why := images.why_not():
        pytest.skip(why)
    return images.put("singleuser-cpu", node)


@pytest.fixture(scope="module")
def portal(
    beside: ControlPlane, node: Node, kueue: Kueue, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """One whose only team may have one of two cards, which the portal itself has told Kueue."""
    for name in (SPACE, TRAIN, SERVE):
        make_namespace(beside, name)
    beside.label(node.name, {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"})
    beside.capacity(node.name, {CARD: str(CARDS), SLICE: "0"})
    made = make_beside(
        beside,
        tmp_path_factory.mktemp("portal"),
        SPACE,
        image,
        DURE_NAMESPACE_TRAINING=TRAIN,
        DURE_NAMESPACE_SERVING=SERVE,
        DURE_HOME_SIZE_GB="0",
        DURE_TEAM_BORROWING="false",
        DURE_KUEUE_ADMISSION_S=str(ADMISSION_S),
        DURE_KUEUE_PAUSE_S=str(PAUSE_S),
    )
    try:
        made.up()
        made.add_user("root", "--admin")
        made.add_user("ana")
        with made.client("root") as root:
            root.put(f"/teams/{TEAM}", json={"members": ["ana"]}).raise_for_status()
            root.put("/quotas", json={"kind": "team", "name": TEAM, "gpus": QUOTA}).raise_for_status()
        made.dure("kueue", "--apply")
        yield made
    finally:
        made.down()
        beside.capacity(node.name, {CARD: "0", SLICE: "2"})


@pytest.fixture
def ana(portal: Portal, beside: ControlPlane) -> Iterator[httpx.Client]:
    """In the team, by the API. Nothing of hers is left."""
    with portal.client("ana") as client:
        until(lambda: TEAM in client.get("/me").json()["teams"], "the hub to know her team", 60)
        yield client
        if seen(client)["phase"] not in ("stopped", "failed"):
            client.delete("/environments/default").raise_for_status()
        until(lambda: not pods_in(beside, SPACE), "her pod to be gone", 60)


@pytest.fixture
def page(portal: Portal) -> Iterator[Page]:
    """A window of hers, logged in, in this machine's own browser."""
    if not any(map(shutil.which, CHROMIUM)) and "DURE_CHROMIUM" not in os.environ:
        pytest.skip(f"There is no browser: none of {', '.join(CHROMIUM)}.")
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        made = browser.new_context(locale="en-US").new_page()
        made.set_default_timeout(TIMEOUT_MS)
        log_in(made, portal, "ana")
        yield made
        browser.close()


@pytest.fixture(autouse=True)
def said(beside: ControlPlane, node: Node) -> Iterator[None]:
    """What the cluster says at the end, which pytest shows of a test that failed."""
    yield
    say(beside, SPACE, node.name)


@contextmanager
def stranger(cluster: ControlPlane, node: Node) -> Iterator[None]:
    """Somebody's pod in the team's queue, beside the portal, that runs until the end of this."""
    asked = {"cpu": "100m", "memory": "64Mi", CARD: "1"}
    container = {
        "name": "c",
        "image": PROBE,
        "command": ["/program", "wait"],
        "imagePullPolicy": "Never",
        "resources": {"requests": asked, "limits": asked},
        "securityContext": make_container_security(),
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "theirs", "labels": {QUEUE: queue_name(TEAM)}},
        "spec": {"containers": [container], "securityContext": make_pod_security(), "restartPolicy": "Never"},
    }
    cluster.create(f"/api/v1/namespaces/{TRAIN}/pods", body).raise_for_status()

    def runs() -> bool:
        (pod,) = pods_in(cluster, TRAIN)
        return (pod["status"].get("phase"), pod["spec"].get("nodeName")) == ("Running", node.name)

    until(runs, "the stranger's pod to run")
    try:
        yield
    finally:
        cluster.api.delete(f"/api/v1/namespaces/{TRAIN}/pods/theirs", params={"gracePeriodSeconds": "1"})
        until(lambda: not pods_in(cluster, TRAIN), "the stranger's pod to be gone")


def card(client: httpx.Client) -> str:
    """The profile of a whole card."""
    found = client.get("/profiles").raise_for_status().json()
    return next(str(one["name"]) for one in found if one["gpus"] == 1)


def held(cluster: ControlPlane) -> dict[str, Any]:
    """Her pod, once Kueue holds it back."""
    until(lambda: pods_in(cluster, SPACE), "her pod to be made")
    (pod,) = pods_in(cluster, SPACE)
    assert is_gated(pod), pod["spec"]
    assert (pod["metadata"]["labels"][QUEUE], pod["metadata"]["labels"][OWNER]) == (queue_name(TEAM), "ana")
    return pod


def uids(cluster: ControlPlane) -> list[str]:
    """Of her pods."""
    return [str(one["metadata"]["uid"]) for one in pods_in(cluster, SPACE)]


def put_back(client: httpx.Client) -> dict[str, Any]:
    """Her ticket, once Kueue has not let her in."""
    tickets: list[dict[str, Any]] = []

    def waits() -> bool:
        ticket = seen(client)["ticket"] or {}
        tickets[:] = [ticket]
        return ticket.get("waits_for") == "cluster_queue"

    until(waits, "her to be put back in line")
    return tickets[0]


def leases(portal: Portal) -> list[tuple[str, str | None, str, str | None]]:
    """All that were ever granted, in order: id, why it ended, from and until when it counts."""
    query = "SELECT id, end_reason, granted_at, ended_at FROM leases ORDER BY granted_at, id"
    with closing(sqlite3.connect(f"file:{portal.data / 'db' / 'dure.sqlite'}?mode=ro", uri=True)) as store:
        return list(store.execute(query))


def frees_all(cluster: ControlPlane, portal: Portal) -> None:
    """Nothing of hers is on the cluster, and the team's queue is free."""
    until(lambda: not pods_in(cluster, SPACE), "her pod to be gone", 60)
    until(lambda: not cluster.get(WORKLOADS)["items"], "Kueue to let go of it", 60)
    assert not cluster.get(f"/api/v1/namespaces/{SPACE}/secrets", labelSelector=LEASE)["items"]
    queue = f"{API}/clusterqueues/{cluster_queue_name(portal.settings['instance'], TEAM)}"

    def is_free() -> bool:
        status = cluster.get(queue)["status"]
        return not status.get("pendingWorkloads") and not status.get("admittedWorkloads")

    until(is_free, "her team's queue to be free", 60)


def test_what_a_stranger_has_of_her_teams_queue_is_waited_for_in_line_and_then_hers(
    portal: Portal, ana: httpx.Client, beside: ControlPlane, node: Node
) -> None:
    before = len(leases(portal))
    with stranger(beside, node):
        assert ask(ana, card(ana))["phase"] == "starting", "the portal's own queue has room"
        pod = held(beside)
        assert pod["metadata"]["labels"][PRIORITY] == "dure-interactive"
        ticket = put_back(ana)
        assert (ticket["position"], ticket["verdict"]["code"]) == (1, "cluster_queue")
        for language in ("en", "ko"):
            assert "insufficient unused quota" in ticket["why"][language], ticket
        until(lambda: pod["metadata"]["uid"] not in uids(beside), "the pod that was not let in to be gone")
    is_in(ana, "running", portal)
    assert lab_answers(portal, "ana")
    (now,) = pods_in(beside, SPACE)
    assert (now["spec"]["nodeName"], now["status"]["phase"]) == (node.name, "Running")
    assert now["spec"]["containers"][0]["resources"]["limits"][CARD] == "1"
    *earlier, (lease, why, _, ended_at) = leases(portal)[before:]
    assert (lease, why, ended_at) == (now["metadata"]["labels"][LEASE], None, None)
    assert earlier
    for _, reason, granted_at, ended_at in earlier:
        assert (reason, ended_at) == (BACK, granted_at), "nobody pays for that"
    ana.delete("/environments/default").raise_for_status()
    frees_all(beside, portal)


def test_a_hub_that_is_killed_while_kueue_holds_a_pod_back_loses_doubles_and_orphans_nothing(
    portal: Portal, ana: httpx.Client, beside: ControlPlane, node: Node
) -> None:
    before = len(leases(portal))
    with stranger(beside, node):
        ask(ana, card(ana))
        pod = held(beside)
        os.kill(portal.pid("hub"), signal.SIGKILL)
        assert seen(ana)["phase"] == "starting"
        assert uids(beside) == [pod["metadata"]["uid"]]
    is_in(ana, "running", portal, 240)
    assert lab_answers(portal, "ana")
    (now,) = pods_in(beside, SPACE)
    assert now["metadata"]["uid"] == pod["metadata"]["uid"], "Kueue let it in while there was no hub"
    ((lease, why, _, ended_at),) = leases(portal)[before:]
    assert (lease, why, ended_at) == (now["metadata"]["labels"][LEASE], None, None)
    ana.delete("/environments/default").raise_for_status()
    frees_all(beside, portal)


def test_on_a_page_that_stays_open_she_reads_what_kueue_says_and_gives_up_by_one_click(
    portal: Portal, ana: httpx.Client, beside: ControlPlane, node: Node, page: Page
) -> None:
    with stranger(beside, node):
        ask(ana, card(ana))
        page.goto(f"{portal.url}/services/dure/wait/default")
        step = page.locator("#steps li").filter(has_text="Kueue, the cluster's own queue, holds it back")
        expect(step.first).to_contain_text("insufficient unused quota", timeout=TIMEOUT_MS)
        expect(page.locator("#why")).to_contain_text("The cluster's queue", timeout=TIMEOUT_MS)
        expect(page.locator("#why")).to_contain_text("insufficient unused quota")
        expect(page.locator("[data-position]")).to_have_text("1")
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_url("**/services/dure/")
        until(lambda: seen(ana)["phase"] == "stopped", "what she gave up to be stopped", 60)
        until(lambda: not pods_in(beside, SPACE), "her pod to be gone", 60)
        until(lambda: not beside.get(WORKLOADS)["items"], "Kueue to let go of it", 60)
    frees_all(beside, portal)
    assert {ended_at is not None for _, _, _, ended_at in leases(portal)} == {True}

"""From an empty cluster to the first notebook, as docs/kubernetes.md says it: its commands, its namespaces.

Nothing stands in for anything but images: they are brought onto the node, as no registry can be reached, and so
PostgreSQL is one of Debian's packages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cluster import database, helm, images
from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import Node
from tests.cluster.programs import Program, until
from tests.cluster.services import Services
from tests.cluster.test_deploy import Deploy
from tests.e2e.conftest import QUIET, chromium_path
from tests.e2e.portal import Portal, free_port
from tests.e2e.reached import compute_in_lab, start_server, visit
from tests.e2e.test_pages import log_in
from tools.kube import find

pytestmark = pytest.mark.timeout(900)

DEV, TRAINING, SERVING, PLATFORM = "mlops-dev", "mlops-training", "mlops-serving", "mlops-platform"
NEEDED = ("portal", "envoy", "singleuser-cpu")
PODS = f"/api/v1/namespaces/{DEV}/pods"
PASSWORD = f"kubectl -n {PLATFORM} get secret dure-admin -o jsonpath='{{.data.password}}' | base64 -d"
ADD = f"kubectl -n {PLATFORM} exec dure-portal-0 -c portal -- dure user add ana"
TABLES = f"kubectl -n {PLATFORM} exec dure-postgresql-0 -- psql -U dure -d dure -Atc '\\dt'"


class Typed:
    """Commands of the documentation, as somebody types them who has this cluster's context."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane, self.folder = plane, folder
        beside = Path(find("kubectl")).parent
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(plane.kubeconfig),
            "DURE_HELM": str(helm.program()),
            "PATH": f"{beside}:{os.environ['PATH']}",
        }

    def __call__(self, line: str) -> str:
        """What it prints; the test fails with what it complains of."""
        done = subprocess.run(
            ["sh", "-c", line], env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def forward(self) -> Program:
        """`make port-forward`, which goes on; its port is its last word."""
        words = [sys.executable, "-m", "tools.deploy", "port-forward", "--port", str(free_port())]
        made = Program(self.folder, "port-forward", words, self.environment)
        made.start()
        return made


@pytest.fixture(scope="module")
def installed(
    services: Services, beside: ControlPlane, node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """What `make deploy-minimal` says on an empty cluster. Everything it made is gone afterwards."""
    if why := images.why_not():
        pytest.skip(why)
    if missing := set(NEEDED) - set(images.asked()):
        pytest.skip(f"{images.ASKED} does not name {', '.join(sorted(missing))}.")
    for name in NEEDED:
        images.put(name, node)
    mine = tmp_path_factory.mktemp("values") / "mine.yaml"
    settings = {"disk_minimum_mb": 0}  # the volumes are of this machine's disk, however full that is
    mine.write_text(yaml.safe_dump({"postgresql": {"image": database.put(node)}, "settings": settings}))
    done = Deploy(beside, mine)("install", "minimal", "--values", str(mine), "--patience", "500")
    try:
        assert done.returncode == 0, done.stdout + done.stderr + said(beside)
        yield done.stdout
    finally:
        ended = {"KUBECONFIG": str(beside.kubeconfig)}
        helm.run("uninstall", "dure", "--namespace", PLATFORM, environment=ended)
        for name in (DEV, TRAINING, SERVING, PLATFORM):
            beside.api.delete(f"/api/v1/namespaces/{name}")
        until(lambda: not beside.exists(f"/api/v1/namespaces/{PLATFORM}"), "the portal's namespace to be gone")


def said(plane: ControlPlane) -> str:
    """The end of what each of the portal's containers has said."""
    text = ""
    for pod in plane.get(f"/api/v1/namespaces/{PLATFORM}/pods")["items"]:
        name, spec = pod["metadata"]["name"], pod["spec"]
        for one in (*spec.get("initContainers", ()), *spec["containers"]):
            query = {"container": one["name"], "tailLines": "30"}
            log = plane.api.get(f"/api/v1/namespaces/{PLATFORM}/pods/{name}/log", params=query).text
            text += f"\n--- {name} {one['name']}\n{log}"
    return text


@pytest.fixture(scope="module")
def typed(installed: str, beside: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """Commands, now that the portal is up."""
    return Typed(beside, tmp_path_factory.mktemp("typed"))


@pytest.fixture(scope="module")
def portal(typed: Typed) -> Iterator[Portal]:
    """The portal, as it is reached through `make port-forward`."""
    forward = typed.forward()
    try:
        made = Portal(typed.folder, int(forward.words[-1]), passwords={"admin": typed(PASSWORD)})
        forward.up(lambda: healthy(made.url))
        assert f"http://127.0.0.1:{made.port}\n" in forward.log.read_text()
        yield made
    finally:
        forward.stop()


def healthy(url: str) -> bool:
    """Whether the hub answers there."""
    try:
        return httpx.get(f"{url}/hub/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """This machine's browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        yield browser
        browser.close()


def test_everything_comes_up_and_it_is_said_what_it_takes(installed: str, typed: Typed) -> None:
    assert "The portal is up:  http://127.0.0.1:8000" in installed
    row = next(line for line in installed.splitlines() if line.startswith(PLATFORM))
    assert row.split()[:3] == [PLATFORM, "3", "0.50"]
    assert row.split()[-1] == "unknown", "these volumes are folders: how full their disk is tells nothing of them"
    status = typed(f"kubectl -n {PLATFORM} exec dure-portal-0 -c portal -- dure status")
    assert ("as a pod's containers" in status, status.count("answers")) == (True, 4), status
    assert len(typed(TABLES).splitlines()) > 20, "the portal's database is the PostgreSQL beside it"


def test_a_person_is_added_logs_in_picks_a_profile_and_computes(
    portal: Portal, typed: Typed, beside: ControlPlane, chromium: Browser
) -> None:
    with visit(chromium, portal.url) as window:
        page = window.page()
        log_in(page, portal, "admin")
        expect(page.get_by_role("heading", level=1)).to_have_text("Hello, admin")
    added = typed(ADD)
    portal.passwords["ana"] = added.partition("Password: ")[2].split()[0]
    with visit(chromium, portal.url) as window:
        page = window.page()
        log_in(page, portal, "ana")
        expect(page.get_by_text("Training jobs do not run on a cluster yet")).to_be_visible()
        page.goto(f"{portal.url}/services/dure/schedules")
        expect(page.get_by_text("Notebooks are not run on schedule on a cluster yet")).to_be_visible()
        start_server(page, portal, "ana")
        (pod,) = beside.get(PODS)["items"]
        assert (pod["metadata"]["labels"]["dure/owner"], pod["spec"]["nodeName"]) == ("ana", "real")
        assert compute_in_lab(page, portal, "ana", "1 + 1", re.compile("2")) == "2"
        ends(page, portal, beside)


def ends(page: Page, portal: Portal, plane: ControlPlane) -> None:
    """She stops her server, and her files stay."""
    page.goto(f"{portal.url}/services/dure/")
    page.get_by_role("button", name="Stop default").click()
    expect(page.locator("[data-server=default]")).to_have_attribute("data-phase", "stopped", timeout=60_000)
    until(lambda: not plane.get(PODS)["items"], "her pod to be gone")
    (home,) = plane.get(f"/api/v1/namespaces/{DEV}/persistentvolumeclaims")["items"]
    assert home["status"]["phase"] == "Bound"

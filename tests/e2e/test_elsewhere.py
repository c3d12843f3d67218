"""A whole portal whose Envoy is no process of its own: it shares no files with it, and asks it for routes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, expect

import dure
from tests.contract.digits import CODE, held_out
from tests.e2e.portal import Portal, free_port, make_portal, until
from tests.e2e.reached import compute_in_lab, start_server, trained, visit
from tests.e2e.test_dashboards import FLEET
from tests.e2e.test_main_job import log_in

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """It is up, with ana and ben, and so is its Envoy, made by the command."""
    folder, xds, statistics = tmp_path_factory.mktemp("apart"), free_port(), free_port()
    made = make_portal(folder, DURE_XDS_PORT=str(xds), DURE_PORTAL_HOST="localhost")
    try:
        made.up()
        command = [sys.executable, "-m", "dure.cli", "dataplane", "bootstrap", "--exec"]
        command += ["--xds", f"localhost:{xds}", "--token-file", str(made.data / "secrets" / "xds-token")]
        command += ["--listen", f"127.0.0.1:{made.port}", "--statistics", f"127.0.0.1:{statistics}"]
        with (folder / "envoy.log").open("wb") as log:
            envoy = subprocess.Popen([*command, "--folder", str(folder / "envoy")], stdout=log, stderr=log)
        try:
            until(lambda: _ready(envoy, statistics), lambda: (folder / "envoy.log").read_text()[-2000:])
            made.add_user("ana")
            made.add_user("ben")
            yield made
        finally:
            envoy.terminate()
            envoy.wait(20)
    finally:
        made.down()


def _ready(envoy: subprocess.Popen[bytes], port: int) -> bool:
    assert envoy.poll() is None
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_login_and_lab_whose_socket_outlives_the_portal(chromium: Browser, portal: Portal) -> None:
    with visit(chromium, portal.url) as window:
        page = window.page()
        log_in(page, portal, "ana")
        start_server(page, portal, "ana")
        compute_in_lab(page, portal, "ana", "print('six times seven is', 6 * 7)", re.compile("is 42"))
        before = portal.service("portal")
        before.kill()
        until(lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE, "the portal to be gone")
        compute_in_lab(page, portal, "ana", "print('seven times seven is', 7 * 7)", re.compile("is 49"))
        until(lambda: portal.pid("portal") != before.pid and _answers(portal), "the portal to be back")
        page.goto(f"{portal.url}/services/dure/")
        expect(page.get_by_text("ana", exact=False).first).to_be_attached()


def _answers(portal: Portal) -> bool:
    return httpx.get(f"{portal.url}/services/dure/health", trust_env=False).status_code == 200


def test_a_dashboard_is_live(chromium: Browser, portal: Portal) -> None:
    with visit(chromium, portal.url) as window:
        page = window.page()
        log_in(page, portal, "admin")
        page.goto(f"{portal.url}{FLEET}")
        expect(page.get_by_role("heading", level=1, name="Fleet")).to_be_visible()
        expect(page.get_by_text("No GPU")).to_be_visible()
        page.goto("about:blank")  # so that it says it is left


@pytest.mark.parametrize(
    ("service", "path", "status"),
    [
        ("mlflow", "/services/mlflow/api/2.0/mlflow/experiments/search?max_results=1", 200),
        ("mlflow", "/services/mlflow/health", 200),
        ("voila", "/services/dashboards/", 302),
        ("voila", "/services/dashboards/health", 200),
    ],
)
def test_nobody_but_envoy_is_answered_by_those_who_believe_it(
    portal: Portal, service: str, path: str, status: int
) -> None:
    address = f"http://127.0.0.1:{portal.settings[f'{service}_port']}{path}"
    claimed = {"x-dure-user": "admin", "x-dure-admin": "1", "host": "localhost"}
    key = (portal.data / "secrets" / "front-key").read_text().strip()
    for shown in ({}, {"x-dure-front": "x"}):
        assert httpx.get(address, headers={**claimed, **shown}, trust_env=False).status_code == 403
    assert httpx.get(address, headers={**claimed, "x-dure-front": key}, trust_env=False).status_code == status
    assert httpx.put(address, headers=claimed, content=b"x" * 2**20, trust_env=False).status_code == 403


def test_the_sdk_trains_serves_and_asks(portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DURE_URL", portal.url)
    monkeypatch.setenv("DURE_TOKEN", portal.token("ben"))
    version = trained("apart")
    endpoint = dure.endpoints.deploy("apart", version.name, version.version).wait(timeout=120)
    try:
        rows, _ = held_out()
        assert len(endpoint.predict(rows[:3])) == 3
        anonymous = httpx.post(endpoint.address, json={"inputs": rows[:1]}, timeout=30)
        assert anonymous.status_code == 401
    finally:
        endpoint.delete()

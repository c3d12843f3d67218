"""From another computer by `ssh -L` with another local port: all of the portal works, and stays there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

import dure
from tests.contract.digits import CODE, held_out
from tests.e2e.portal import Portal
from tests.e2e.reached import compute_in_lab, forwarded, start_server, trained, visit
from tests.e2e.test_dashboards import FLEET
from tests.e2e.test_main_job import log_in

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def near(portal: Portal) -> Iterator[Portal]:
    """The portal as it is seen from the other end."""
    with forwarded(portal.port) as port:
        assert port != portal.port
        yield replace(portal, port=port)


def test_login_server_lab_and_logout(chromium: Browser, near: Portal) -> None:
    with visit(chromium, near.url) as window:
        page = window.page()
        log_in(page, near, "ana")
        expect(page.get_by_text(near.url, exact=False).first).to_be_attached()  # what to set DURE_URL to
        start_server(page, near, "ana")
        said = compute_in_lab(page, near, "ana", "print('six times seven is', 6 * 7)", re.compile("is 42"))
        assert "42" in said
        assert any("/api/kernels/" in socket for socket in window.sockets), (
            "the kernel was spoken to by a websocket"
        )

        with page.expect_response("**/ajax-api/2.0/mlflow/experiments/search*") as found:
            page.goto(f"{near.url}/services/mlflow/#/experiments")
        assert found.value.ok
        expect(page.get_by_text("Experiments").first).to_be_visible()

        page.goto(f"{near.url}/hub/logout")
        page.goto(f"{near.url}/services/dure/")
        expect(page.get_by_label("Username")).to_be_visible()
        assert page.url.startswith(near.url)


def test_a_dashboard_is_live(chromium: Browser, near: Portal) -> None:
    with visit(chromium, near.url) as window:
        page = window.page()
        log_in(page, near, "admin")
        page.goto(f"{near.url}{FLEET}")
        expect(page.get_by_role("heading", level=1, name="Fleet")).to_be_visible()
        expect(page.get_by_text("No GPU")).to_be_visible()
        assert any("/channels" in socket for socket in window.sockets), "its kernel was spoken to"
        page.goto("about:blank")  # so that it says it is left


def test_the_sdk_trains_serves_and_asks(near: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DURE_URL", near.url)
    monkeypatch.setenv("DURE_TOKEN", near.token("ben"))
    version = trained("forwarded")
    endpoint = dure.endpoints.deploy("forwarded", version.name, version.version).wait(timeout=120)
    try:
        assert endpoint.address.startswith(near.url)
        rows, _ = held_out()
        assert len(endpoint.predict(rows[:3])) == 3
        anonymous = httpx.post(endpoint.address, json={"inputs": rows[:1]}, timeout=30)
        assert anonymous.status_code == 401
    finally:
        endpoint.delete()

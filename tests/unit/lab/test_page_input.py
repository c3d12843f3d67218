"""A real Jupyter server that is told when somebody last typed in a page of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from dure_lab.page_input import ACTIVE, CAN_TELL, SETTING, state
from tests.unit.lab.kit import server, until
from tests.unit.lab.stub_portal import stub_portal
from tests.unit.lab.test_busy import LOOKS, last_activity

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "connected", "expected"),
    [
        ({}, False, "idle"),
        ({}, True, "unknown"),
        ({CAN_TELL: True}, True, "idle"),
        ({CAN_TELL: True, SETTING: NOW}, False, "in_use"),
        ({CAN_TELL: True, SETTING: NOW - ACTIVE + timedelta(seconds=1)}, True, "in_use"),
        ({CAN_TELL: True, SETTING: NOW - ACTIVE}, True, "idle"),
    ],
)
def test_an_open_page_is_in_use_only_while_somebody_uses_it(
    settings: Mapping[str, Any], connected: bool, expected: str
) -> None:
    assert state(settings, connected, NOW) == expected


def test_input_is_activity_at_its_own_moment_and_never_later(tmp_path: Path) -> None:
    with server(tmp_path, "dure_lab.routes") as client:
        first = last_activity(client)
        client.post("/dure/input", json={"seconds_ago": None}).raise_for_status()
        client.post("/dure/input", json={"seconds_ago": 3600}).raise_for_status()
        assert last_activity(client) == first, "it was before the server's start"
        until(lambda: datetime.now(UTC) - first > timedelta(seconds=0.5), "some time to pass", tmp_path / "log")
        before = datetime.now(UTC)
        client.post("/dure/input", json={"seconds_ago": 0.2}).raise_for_status()
        told = last_activity(client)
        assert before - timedelta(seconds=0.2) <= told <= datetime.now(UTC) - timedelta(seconds=0.2)
        client.post("/dure/input", json={"seconds_ago": 600}).raise_for_status()
        assert last_activity(client) == told, "another page's older input takes nothing back"


@pytest.mark.parametrize("body", [[], {}, {"seconds_ago": "1"}, {"seconds_ago": True}, {"seconds_ago": -1}])
def test_a_time_that_makes_no_sense_is_refused(place: Any, body: Any) -> None:
    assert place.post("/dure/input", json=body).status_code == 400


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with server(tmp_path_factory.mktemp("input"), "dure_lab.routes") as client:
        yield client


def test_the_portal_is_told_whether_pages_are_in_use(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with stub_portal() as portal:
        portal.answers["POST default/activity"] = 204, None
        mine = {"DURE_URL": portal.url, "JUPYTERHUB_API_TOKEN": "own", "JUPYTERHUB_ACTIVITY_INTERVAL": LOOKS}

        def told(expected: str) -> None:
            def is_told() -> bool:
                return any(one.body["pages"] == expected for one in portal.of("POST", "default/activity")[-1:])

            until(is_told, f"pages to be {expected}", log)

        with server(tmp_path, "dure_lab.busy", "dure_lab.routes", **mine) as client:
            told("idle")
            made = client.post("/api/kernels", json={"name": "python3"}).json()["id"]
            address = f"{str(client.base_url).replace('http', 'ws')}/api/kernels/{made}/channels"
            headers = {"Authorization": client.headers["Authorization"]}
            with connect(address, additional_headers=headers, proxy=None):
                told("unknown")
                client.post("/dure/input", json={"seconds_ago": None}).raise_for_status()
                told("idle")
                client.post("/dure/input", json={"seconds_ago": 1}).raise_for_status()
                told("in_use")

"""A server that nobody uses ends, one in use stays, and either ends with its lease: real hub, real processes.

The servers are small ones that report no use by themselves. Here the tests report it, as a server does: to the
address and with the token that the hub gave it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until

pytestmark = pytest.mark.timeout(300)
STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
IDLE_S = 3600


class Clocked:
    """A portal whose time is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = folder / "clock"
        self.clock.write_text("0")
        self.portal: Portal = make_portal(
            folder,
            DURE_CLOCK_FILE=str(self.clock),
            DURE_IDLE_TIMEOUT_S=str(IDLE_S),
            DURE_ACTIVITY_INTERVAL_S="1",
            DURE_LOOK_INTERVAL_S="0.3",
            DURE_SERVER_COMMAND=json.dumps([sys.executable, "-I", "-S", str(STUB)]),
        )

    def move_to(self, seconds: int) -> None:
        """So long after the start of the portal."""
        self.clock.write_text(str(seconds))


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    """A portal with ana and ben."""
    made = Clocked(tmp_path_factory.mktemp("idle"))
    try:
        made.portal.up()
        made.portal.add_user("ana")
        made.portal.add_user("ben")
        yield made
    finally:
        made.portal.down()


@pytest.fixture(scope="module")
def ana(clocked: Clocked) -> Iterator[httpx.Client]:
    """The API as ana."""
    with clocked.portal.client("ana") as client:
        yield client


@pytest.fixture(scope="module")
def ben(clocked: Clocked) -> Iterator[httpx.Client]:
    """The API as ben."""
    with clocked.portal.client("ben") as client:
        yield client


def seen(api: httpx.Client) -> dict[str, Any]:
    """One's default server as the portal shows it."""
    answer = api.get("/environments/default")
    assert answer.is_success, answer.text
    return dict(answer.json())


def start(api: httpx.Client, lifetime_s: int | None = None) -> dict[str, Any]:
    """Ask for a server and wait until it runs, and until its use was looked at for the first time."""
    ask = {"id": new_id(), "name": "default", "profile": "cpu", "lifetime_s": lifetime_s}
    answer = api.post("/environments", json=ask)
    assert answer.status_code == 202, answer.text
    until(lambda: seen(api)["phase"] == "running", "the server to run")
    ready = seen(api)
    until(lambda: seen(api)["idle_since"] > ready["idle_since"], "a first look at its use")
    return seen(api)


def process(portal: Portal, server: dict[str, Any]) -> psutil.Process:
    """The one process of this server that is not its keeper."""
    mine = [one for one in portal.processes() if one.environ().get("DURE_LEASE") == server["lease"]["id"]]
    (found,) = [one for one in mine if str(STUB) in one.cmdline()]
    return found


def report_use(server: psutil.Process) -> None:
    """Tell the hub of use now, as this server."""
    told = server.environ()
    at = datetime.now(UTC).isoformat()
    answer = httpx.post(
        told["JUPYTERHUB_ACTIVITY_URL"],
        headers={"Authorization": f"token {told['JUPYTERHUB_API_TOKEN']}"},
        json={"servers": {told["JUPYTERHUB_SERVER_NAME"]: {"last_activity": at}}, "last_activity": at},
    )
    assert answer.is_success, answer.text


def time_of(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


def test_unused_servers_end_and_used_ones_only_at_their_end(
    clocked: Clocked, ana: httpx.Client, ben: httpx.Client
) -> None:
    portal = clocked.portal
    of_ana, of_ben = start(ana), start(ben, lifetime_s=2 * IDLE_S)
    servers = process(portal, of_ana), process(portal, of_ben)
    assert servers[1].environ()["JUPYTERHUB_ACTIVITY_INTERVAL"] == "1"
    began = time_of(of_ben["idle_since"])
    assert time_of(of_ben["idle_end"]) - began == timedelta(seconds=IDLE_S)

    clocked.move_to(IDLE_S - 600)
    report_use(servers[1])
    until(lambda: time_of(seen(ben)["idle_since"]) - began > timedelta(seconds=2000), "ben's use to be seen")
    assert seen(ana)["phase"] == "running", "not idle for long enough"

    clocked.move_to(IDLE_S + 60)
    until(lambda: seen(ana)["phase"] == "stopped", "ana's server to end")
    assert seen(ana)["reason"] == "Nobody used it for 1 hour."
    assert not servers[0].is_running()
    with portal.client("admin") as root:
        events = root.get("/events", params={"object": "environment:ana/default"}).json()
    assert [one["verb"] for one in events[:2]] == ["environment.end", "environment.stop"]
    assert (events[1]["actor"], events[1]["verdict"]["code"]) == ("dure", "idle")
    assert seen(ben)["phase"] == "running"
    assert servers[1].is_running()

    report_use(servers[1])
    until(lambda: time_of(seen(ben)["idle_since"]) - began > timedelta(seconds=IDLE_S), "ben's use to be seen")
    clocked.move_to(2 * IDLE_S + 10)
    until(lambda: seen(ben)["phase"] == "stopped", "ben's server to end with its lease")
    assert seen(ben)["reason"] == "Its time was over."
    assert not servers[1].is_running()

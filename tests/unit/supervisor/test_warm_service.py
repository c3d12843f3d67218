"""The fork server as a service: left out where it is of no use, and nothing waits for it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dure_hub.settings import Settings
from dure_hub.supervisor import services
from dure_hub.supervisor.run import Supervisor
from dure_hub.supervisor.spec import Service
from tests.unit.supervisor.kit import until


@pytest.mark.parametrize(
    ("settings_", "there"),
    [({}, True), ({"warm_starts": False}, False), ({"server_command": ["my-lab"]}, False)],
)
def test_it_is_there_where_jupyterlab_is_what_people_start(
    settings: Settings, settings_: dict[str, object], there: bool
) -> None:
    assert ("warm" in services.wanted(settings.model_copy(update=settings_))) is there


def test_its_environment_is_nobodys_and_agrees_with_what_servers_are_given(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HOME": "/home/op", "USER": "op", "LANG": "ko_KR.UTF-8", "LC_ALL": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    own, hubs = services.fork_environment(settings), services.environment(settings, "hub")
    assert own["HOME"] != "/home/op"
    assert not {"USER", "LOGNAME"} & set(own)
    assert not [name for name in own if name.startswith("PYTHON")], "servers have none, and they must agree"
    assert {name: own[name] for name in ("LANG", "LC_ALL", "PATH")} == {
        name: hubs[name] for name in ("LANG", "LC_ALL", "PATH")
    }
    assert own["DURE_SERVICE"] == "warm"


@asynccontextmanager
async def supervised(settings: Settings, *made: Service) -> AsyncIterator[Supervisor]:
    """A supervisor of these, which end after the test."""
    supervisor = Supervisor(settings, made, lambda *_, **__: None)
    try:
        yield supervisor
    finally:
        await supervisor.abandon()


async def never() -> bool:
    """Not ready."""
    return False


async def test_a_start_waits_for_no_service_that_it_can_do_without(settings: Settings) -> None:
    environment = {"PATH": os.environ["PATH"], "DURE_PORTAL": settings.instance, "DURE_SERVICE": "warm"}
    ends_at_once = Service(
        "warm", "warm", [sys.executable, "-c", "raise SystemExit(1)"], never, environment, essential=False
    )
    cannot_start = Service("none", "none", ["/no/such/program"], never, environment, essential=False)
    async with supervised(settings, ends_at_once, cannot_start) as supervisor, asyncio.timeout(20):
        await supervisor.start()
        await until(lambda: supervisor.keepers["warm"].exits > 3)  # and it is tried again and again all the same
    notes = (settings.folder.log / "supervisor.log").read_text()
    assert "none: cannot start:" in notes

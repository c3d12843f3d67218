"""A portal with a simulated fleet says so on every page and in every answer about its GPUs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dure_hub.app import operations
from dure_hub.operations import Operations
from dure_hub.services import application
from dure_hub.services.places import API
from dure_hub.services.sessions import Session
from dure_hub.settings import Settings
from tests.unit.services.conftest import ORIGIN, Browser, bearer
from tests.unit.services.stub_hub import StubHub

LABEL = 'class="simulated"'


@pytest.fixture
async def simulated(template: Path, hub: StubHub, tmp_path: Path) -> AsyncIterator[Operations]:
    """Everything the portal can do, with a campus that is not there."""
    root = tmp_path / "simulated"
    shutil.copytree(template, root)
    Settings(data=root, hub_port=hub.port, instance="0123456789ab", simulated_fleet="campus").save()
    made = operations(root)
    yield made
    await made.close()


def client_of(ops: Operations) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application(ops)), base_url=ORIGIN)


async def test_about_and_fleet_say_that_it_is_simulated(simulated: Operations, hub: StubHub) -> None:
    async with client_of(simulated) as client:
        about = (await client.get(f"{API}/about")).json()
        assert about["simulated"] is True
        root = bearer(hub.person("root", admin=True))
        fleet = (await client.get(f"{API}/fleet", headers=root)).json()
        assert fleet["simulated"] is True
        assert len(fleet["devices"]) == 24
        offered = (await client.get(f"{API}/profiles", headers=root)).json()
    assert any(profile["gpus"] and profile["free"] for profile in offered)


async def page(ops: Operations, hub: StubHub, language: str = "en") -> str:
    """The first page, as ana sees it."""
    app = application(ops)
    browser = Browser(app, Session.new(hub.person("ana", session="session-of-ana")), "session-of-ana")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        found = await client.get("/services/dure/", headers=browser.navigate(Accept_Language=language))
    assert found.status_code == 200
    return found.text


@pytest.mark.parametrize(("language", "word"), [("en", "Simulated:"), ("ko", "시뮬레이션:")])
async def test_every_page_says_so(simulated: Operations, hub: StubHub, language: str, word: str) -> None:
    text = await page(simulated, hub, language)
    assert LABEL in text
    assert word in text


async def test_a_portal_with_real_gpus_does_not(ops: Operations, hub: StubHub) -> None:
    assert LABEL not in await page(ops, hub)
    async with client_of(ops) as client:
        assert (await client.get(f"{API}/about")).json()["simulated"] is False

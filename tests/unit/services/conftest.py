"""The service over real operations and a real store; the hub is a small one on a real port."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dure_hub.app import operations
from dure_hub.operations import Operations
from dure_hub.services import application
from dure_hub.services.sessions import HUB_SESSION_COOKIE, SESSION_COOKIE, Session
from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate
from tests.unit.services.stub_hub import StubHub, running_hub

ORIGIN = "http://portal.test"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database, to be copied."""
    root = tmp_path_factory.mktemp("data")
    settings = Settings(data=root)
    settings.folder.create()
    migrate(settings)
    for name in ("session-key", "portal-token", "notices-key"):
        (settings.folder.secrets / name).write_text(name.replace("-token", "-secret"))
    return root


@pytest.fixture(scope="session")
def port_of_hub() -> Iterator[StubHub]:
    """The hub's process, once."""
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(port_of_hub: StubHub) -> StubHub:
    """A hub that knows nobody yet."""
    port_of_hub.reset()
    return port_of_hub


@pytest.fixture
async def ops(template: Path, hub: StubHub, tmp_path: Path) -> AsyncIterator[Operations]:
    """Everything the portal can do, on a data folder of its own."""
    root = tmp_path / "data"
    shutil.copytree(template, root)
    settings = Settings(
        data=root,
        hub_port=hub.port,
        instance="0123456789ab",
        memory_reserved_mb=0,
        wake_notice_s=0,  # tests move the clock as they like
        servers_per_person=1000,  # one person fills a machine of any size
        disk_minimum_percent=0,
    )
    settings.save()
    made = operations(root)
    yield made
    await made.close()


@pytest.fixture
def app(ops: Operations) -> FastAPI:
    """The application under test."""
    return application(ops)


@pytest.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is nobody."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


class Browser:
    """What a browser sends: the session of a person, and where the answer goes."""

    def __init__(self, app: FastAPI, session: Session, hub_session: str) -> None:
        self.csrf = session.csrf
        seal = app.state.portal.seal
        text = seal.close("session", {"token": session.token, "csrf": session.csrf})
        self.cookies = f"{SESSION_COOKIE}={text}; {HUB_SESSION_COOKIE}={hub_session}"

    def navigate(self, **more: str) -> dict[str, str]:
        """The headers of an address typed or a link followed."""
        return {
            "Cookie": self.cookies,
            "Accept": "text/html,application/xhtml+xml",
            "Sec-Fetch-Dest": "document",
            "Sec-Fetch-Mode": "navigate",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    def script(self, **more: str) -> dict[str, str]:
        """The headers of a script's fetch within the origin."""
        return {
            "Cookie": self.cookies,
            "Accept": "application/json",
            "Sec-Fetch-Dest": "empty",
            "Sec-Fetch-Site": "same-origin",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }


@pytest.fixture
def ana(app: FastAPI, hub: StubHub) -> Browser:
    """Ana, logged in with a browser."""
    return Browser(app, Session.new(hub.person("ana", session="session-of-ana")), "session-of-ana")

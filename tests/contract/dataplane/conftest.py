"""One Envoy, two upstreams and a check server for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dure_hub.dataplane import write_bootstrap
from dure_hub.settings import Settings
from tests.contract.dataplane.world import (
    Upstream,
    World,
    elsewhere,
    envoy,
    free_port,
    portal,
    remote_envoy,
    upstream,
)


def make_settings(folder: Path) -> Settings:
    settings = Settings(data=folder, port=free_port(), portal_port=free_port())
    settings.folder.create()
    return settings


def make_remote_settings(folder: Path) -> Settings:
    """Of a portal whose Envoys run elsewhere."""
    settings = make_settings(folder).model_copy(update={"xds_port": free_port()})
    (settings.folder.secrets / "xds-token").write_text("a token of these tests")
    return settings


@pytest.fixture(scope="session", params=["files", "xds"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One Envoy that reads files, then one that asks for the same by REST xDS."""
    asks = request.param == "xds"
    settings = (make_remote_settings if asks else make_settings)(tmp_path_factory.mktemp("data"))
    check = f"127.0.0.1:{settings.portal_port}"
    with ExitStack() as stack:
        stack.enter_context(upstream("portal", check, settings.folder.log / "portal.log"))
        if not asks:
            yield stack.enter_context(envoy(settings))
            return
        write_bootstrap(settings)  # and with it the files
        stack.enter_context(portal(settings))
        yield stack.enter_context(remote_envoy(settings, elsewhere(settings, tmp_path_factory.mktemp("envoy"))))


@pytest.fixture(scope="session")
def ana(world: World) -> Iterator[Upstream]:
    """An upstream on a port."""
    with upstream("ana", f"127.0.0.1:{free_port()}", world.settings.folder.log / "ana.log") as made:
        yield made


@pytest.fixture(scope="session")
def ben(world: World) -> Iterator[Upstream]:
    """An upstream on a Unix socket."""
    address = f"unix:{world.settings.folder.run / 'ben.sock'}"
    with upstream("ben", address, world.settings.folder.log / "ben.log") as made:
        yield made

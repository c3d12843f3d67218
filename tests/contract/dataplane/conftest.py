"""One Envoy, two upstreams and a check server for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from tests.contract.dataplane.world import Upstream, World, envoy, free_port, upstream


def make_settings(folder: Path) -> Settings:
    settings = Settings(data=folder, port=free_port(), portal_port=free_port())
    settings.folder.create()
    return settings


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = make_settings(tmp_path_factory.mktemp("data"))
    portal = f"127.0.0.1:{settings.portal_port}"
    with upstream("portal", portal, settings.folder.log / "portal.log"), envoy(settings) as running:
        yield running


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

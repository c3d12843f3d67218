"""A small portal for each test, and a data folder beside a real MLflow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from tests.support.mlflow import mlflow_settings, running_mlflow
from tests.support.money import books as books
from tests.support.noticing import Site
from tests.support.postgres import database as database
from tests.support.postgres import postgres as postgres
from tests.support.receivers import LOOPBACK, Webhook, webhook
from tests.support.workshop import end_all, workshop_settings
from tests.support.world import World


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real MLflow server for all tests here."""
    with running_mlflow(mlflow_settings(tmp_path_factory.mktemp("mlflow"))) as settings:
        yield settings


@pytest.fixture
async def settings(tmp_path: Path, mlflow: Settings) -> AsyncIterator[Settings]:
    """A data folder; whatever runs of it is ended at the end."""
    made = workshop_settings(tmp_path / "data", mlflow)
    yield made
    await end_all(made)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Room for four holders of `cpu` in cores, two in memory."""
    made = World(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """With notices, which may be sent to this machine."""
    made = Site(tmp_path, idle_timeout_s=0, notice_networks=LOOPBACK)
    yield made
    await made.close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """Somebody who receives them."""
    with webhook() as found:
        yield found

"""A real MLflow with four versions of a model, and the operations over a data folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from tests.support.mlflow import mlflow_settings, running_mlflow
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings
from tests.unit.operations.endpoints.kit import StubServing, four_versions


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
async def shop(settings: Settings, mlflow: Settings) -> AsyncIterator[Workshop]:
    """The operations, and a model of ana's with four versions."""
    async with workshop(settings, serving=StubServing(settings)) as made:
        await four_versions(made, mlflow)
        yield made

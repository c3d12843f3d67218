"""A real MLflow with four versions of a model, and the operations over a data folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dure_hub.settings import Settings
from tests.support.workshop import Workshop, workshop
from tests.unit.operations.endpoints.kit import StubServing, four_versions


@pytest.fixture
async def shop(settings: Settings, mlflow: Settings) -> AsyncIterator[Workshop]:
    """The operations, and a model of ana's with four versions."""
    async with workshop(settings, serving=StubServing(settings)) as made:
        await four_versions(made, mlflow)
        yield made

"""A small portal for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Room for four holders of `cpu` in cores, two in memory."""
    made = World(tmp_path)
    yield made
    await made.close()

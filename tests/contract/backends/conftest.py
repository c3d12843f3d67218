"""A place of each kind, swept after the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dure_hub.backends.base import Kind
from tests.contract.backends.kit import EmbeddedPlace, Place

PLACES = ["embedded"]


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Whatever the test leaves running is stopped, and must then be gone."""
    embedded = EmbeddedPlace(tmp_path)
    yield embedded
    for kind in Kind:
        backend = embedded.runs(kind)
        await asyncio.gather(*(backend.stop(seen.handle, 0) for seen in await backend.seen()))
    assert embedded.marked() == {}


@pytest.fixture
def embedded(place: Place) -> EmbeddedPlace:
    """For tests of what only processes of this machine have."""
    if not isinstance(place, EmbeddedPlace):
        pytest.skip("only for processes of this machine")
    return place

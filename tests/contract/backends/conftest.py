"""A place of each kind, swept after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dure_hub.backends.base import Kind
from tests.contract.backends.kit import STUB, EmbeddedPlace, Place, WarmPlace
from tests.support.warm import fork_server

PLACES = ["embedded", "warm"]
"""`warm` is this machine with a fork server, which makes a difference for servers alone."""
OF_SERVERS = ("test_runs", "test_logs", "test_starts", "test_embedded_faults", "test_embedded_full_disk")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what would only be run a second time."""
    items[:] = [item for item in items if not _the_same_again(item)]


def _the_same_again(item: pytest.Item) -> bool:
    values = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if values.get("place") != "warm":
        return False
    return item.path.stem not in OF_SERVERS or values.get("kind", Kind.SERVER) is not Kind.SERVER


@pytest.fixture(scope="session")
def warm_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a fork server for the stub runs."""
    folder = tmp_path_factory.mktemp("warm")
    place = WarmPlace(folder)
    with fork_server(place.settings, STUB, {"PYTHONPATH": str(place.code)}):
        (folder / "instance").write_text(place.settings.instance)
        yield folder


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Whatever the test leaves running is stopped, and must then be gone."""
    if request.param == "warm":
        folder: Path = request.getfixturevalue("warm_folder")
        embedded: EmbeddedPlace = WarmPlace(folder)
        instance = (folder / "instance").read_text()
        embedded.settings = embedded.settings.model_copy(update={"instance": instance})
    else:
        embedded = EmbeddedPlace(tmp_path)
    yield embedded
    await embedded.clear()


@pytest.fixture
def embedded(place: Place) -> EmbeddedPlace:
    """For tests of what only processes of this machine have."""
    if not isinstance(place, EmbeddedPlace):
        pytest.skip("only for processes of this machine")
    return place

"""The cluster that these tests share. Without its namespaces they are left out, and say by which command not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import apart
from tests.cluster.control_plane import ControlPlane


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    """A control plane with kwok, up."""
    folder = apart.inside()
    if folder is None:
        pytest.skip("These run in namespaces of their own: make test-cluster.")
    made = ControlPlane(folder / "control-plane")
    try:
        made.start()
        made.start_kwok()
        yield made
    finally:
        made.stop()

"""The cluster that these tests share. Without its namespaces they are left out, and say by which command not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import apart
from tests.cluster import node as real
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kueue import Kueue
from tests.cluster.node import Node


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


@pytest.fixture(scope="session")
def node(cluster: ControlPlane) -> Iterator[Node]:
    """A real node, with MIG instances that its kubelet believes in."""
    if why := real.why_not():
        pytest.skip(why)
    folder = apart.inside()
    assert folder is not None
    made = Node(cluster, folder / "node")
    try:
        made.start()
        cluster.capacity(made.name, {"nvidia.com/mig-1g.10gb": "2"})
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def kueue(cluster: ControlPlane) -> Iterator[Kueue]:
    """Kueue, for the tests of this module: it judges the pods of all namespaces while it runs."""
    folder = apart.inside()
    assert folder is not None
    made = Kueue(cluster, Path(tempfile.mkdtemp(prefix="kueue-", dir=folder)) / "kueue")
    try:
        made.start()
        yield made
    finally:
        made.stop()

"""The cluster that these tests share: one of their own, in its namespaces, or somebody's, named by its context.

`cluster` is either; who asks for more than an API server and pods asks for `own`, `kwok`, `kueue` or `mig`, which
are the tests' own alone. What cannot run where it is is left out, and says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.cluster import apart, given
from tests.cluster import node as real
from tests.cluster import services as beside_nodes
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given import Given, GivenNode
from tests.cluster.kueue import Kueue
from tests.cluster.names import prefix
from tests.cluster.node import SLICE, Node
from tests.cluster.services import Services

MIG = "2"
BESIDE = "It needs what only the tests' own cluster has or lets be done to it"


def only_ours(why: str) -> None:
    """Skip the test where the cluster is somebody's."""
    if given.context():
        pytest.skip(f"{BESIDE}: {why}.")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of tests whose objects have names of their run, and that ask for what only ours has by name."""
    config.addinivalue_line("markers", "anywhere: may run on somebody's cluster (docs/test-cluster.md)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Nothing runs on somebody's cluster that was not written for it."""
    if given.context() and item.get_closest_marker("anywhere") is None:
        pytest.skip(f"{BESIDE}: it was not written for another (pytest.mark.anywhere).")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    """A cluster to ask. What a test makes on it has names of this run (tests/cluster/names.py)."""
    if given.context() is None:
        yield request.getfixturevalue("own")
        return
    with given.reached() as made:
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            print(told(made), flush=True)
        yield made


def told(made: Given) -> str:
    """What is about to happen to somebody's cluster."""
    where = f"the cluster of the context {made.context} ({made.api.base_url})"
    told = f"Tests run on {where}. They make namespaces named {prefix()}… there, and remove them."
    left = [f"Removed what a killed run had left: {prefix(mark)}…" for mark in made.swept]
    return "\n".join(["", told, *left])


@pytest.fixture(scope="session")
def own() -> Iterator[ControlPlane]:
    """The tests' own control plane with kwok, up."""
    only_ours("processes that tests start and end")
    folder = apart.inside()
    if folder is None:
        pytest.skip(
            f"These run in namespaces of their own: make test-cluster. Or {given.CONTEXT} names a cluster."
        )
    made = ControlPlane(folder / "control-plane")
    try:
        made.start()
        made.start_kwok()
        yield made
    finally:
        made.stop()


def own_for(request: pytest.FixtureRequest, what: str) -> ControlPlane:
    """The tests' own control plane, where there is what is needed; else the test is left out and says what."""
    only_ours(what)
    own: ControlPlane = request.getfixturevalue("own")
    return own


@pytest.fixture(scope="session")
def beside(request: pytest.FixtureRequest) -> ControlPlane:
    """The tests' own control plane, whose pods reach this machine and its files, and are reached from it."""
    return own_for(request, "a network and files that pods share with these tests")


@pytest.fixture(scope="session")
def kwok(request: pytest.FixtureRequest) -> ControlPlane:
    """The tests' own control plane, for nodes that exist only in writing."""
    return own_for(request, "nodes that exist only in writing, which kwok looks after")


@pytest.fixture(scope="session")
def mortal(request: pytest.FixtureRequest) -> ControlPlane:
    """The tests' own control plane, for tests that end its API server."""
    return own_for(request, "an API server that may be killed")


@pytest.fixture(scope="session")
def mig(request: pytest.FixtureRequest) -> Node:
    """The tests' own real node, with two MIG instances that its kubelet believes in."""
    only_ours("a node that says that it has MIG instances")
    node: Node = request.getfixturevalue("node")
    return node


@pytest.fixture(scope="session")
def node(cluster: ApiServer) -> Iterator[Node | GivenNode]:
    """A real node."""
    if isinstance(cluster, Given):
        if why := given.why_no_node():
            pytest.skip(why)
        yield given.loaded(cluster.node())
        return
    if why := real.why_not():
        pytest.skip(why)
    folder = apart.inside()
    assert isinstance(cluster, ControlPlane)
    assert folder is not None
    made = Node(cluster, folder / "node")
    try:
        made.start()
        cluster.capacity(made.name, {SLICE: MIG})
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def kueue(request: pytest.FixtureRequest) -> Iterator[Kueue]:
    """Kueue, for the tests of this module: it judges the pods of all namespaces while it runs."""
    only_ours("a Kueue, which would judge everybody's pods")
    own: ControlPlane = request.getfixturevalue("own")
    folder = apart.inside()
    assert folder is not None
    made = Kueue(own, Path(tempfile.mkdtemp(prefix="kueue-", dir=folder)) / "kueue")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """Services with addresses and names, and volumes, for the tests of this module: claims get them meanwhile."""
    only_ours("a network of Services and a StorageClass of the tests' own")
    if why := beside_nodes.why_not():
        pytest.skip(why)
    own: ControlPlane = request.getfixturevalue("own")
    node: Node = request.getfixturevalue("node")
    folder = apart.inside()
    assert folder is not None
    made = Services(own, node, Path(tempfile.mkdtemp(prefix="services-", dir=folder)) / "services")
    try:
        made.start()
        yield made
    finally:
        made.stop()

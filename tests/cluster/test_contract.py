"""The contract that all backends keep, kept by pods: the very tests of `tests/contract/backends`.

Each test there that takes a `place: Place` is the contract, and is collected here once more, with this place. No
list is kept of them, so none can be missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.place import SPACE, KubernetesPlace
from tests.contract import backends


def contract() -> Iterator[tuple[str, Callable[..., object]]]:
    """Its tests, by name."""
    names = sorted(module.name for module in iter_modules(backends.__path__) if module.name.startswith("test_"))
    for module in (import_module(f"{backends.__name__}.{name}") for name in names):
        for name, test in vars(module).items():
            if name.startswith("test_") and test.__annotations__.get("place") == "Place":
                yield name, test


for _name, _test in contract():
    assert _name not in globals(), f"two tests are called {_name}, and only one would be seen here"
    globals()[_name] = _test


@pytest.fixture(scope="session")
def space(cluster: ControlPlane, node: Node) -> str:
    """The namespace, on a cluster with a real node."""
    return make_namespace(cluster, SPACE)


@pytest.fixture
async def place(cluster: ControlPlane, space: str, tmp_path: Path) -> AsyncIterator[KubernetesPlace]:
    """One with a portal of its own. Whatever the test leaves running is stopped, and must then be gone."""
    made = KubernetesPlace(cluster, tmp_path)
    try:
        yield made
        await made.clear()
    finally:
        await made.close()

"""How a lease names what it holds of a node.

Kubernetes counts what a node has of a resource and does not say which of them a pod got. Ours are numbered all the
same, `node/resource/number`, since a lease holds this one and no other: then counting by lease and counting by pod
agree. Which card a pod really gets is the device plugin's to say; all of one resource on one node are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def device_id(node: str, resource: str, number: int) -> str:
    """The name by which a lease holds this one."""
    return f"{node}/{resource}/{number}"


def where(device: str) -> tuple[str, str]:
    """Node and resource of such a name. Raises `ValueError` for what is none."""
    node, _, rest = device.partition("/")
    resource, _, number = rest.rpartition("/")
    if not (node and resource and number.isdigit()):
        raise ValueError(f"{device!r} is no device of a cluster")
    return node, resource


def resources_of(devices: Iterable[str]) -> tuple[str | None, dict[str, int]]:
    """On which node a pod must be to hold these, None for none; and what it must ask for.

    Raises `ValueError` where they are on several nodes.
    """
    found = [where(device) for device in devices]
    nodes = {node for node, _ in found}
    if len(nodes) > 1:
        raise ValueError(f"one pod cannot be on {', '.join(sorted(nodes))}")
    return next(iter(nodes), None), dict(Counter(resource for _, resource in found))

"""Nodes and pods as an API server gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def node(
    name: str = "n1",
    *,
    labels: Mapping[str, str] | None = None,
    cordoned: bool = False,
    ready: bool = True,
    **has: str,
) -> Object:
    """A node with 16 cores, 64 GiB, and what else it has: `gpu="4"`, `mig_1g_10gb="7"`."""
    found = {"cpu": "16", "memory": "64Gi", **{resource(key): value for key, value in has.items()}}
    return {
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": found,
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        },
    }


def resource(key: str) -> str:
    """That of a keyword: `mig_1g_10gb` is nvidia.com/mig-1g.10gb, `gpu_shared` is nvidia.com/gpu.shared."""
    if key.startswith("mig_"):
        return f"nvidia.com/mig-{key.removeprefix('mig_').replace('_', '.')}"
    return f"nvidia.com/{key.replace('_', '.')}" if key.startswith("gpu") else key


def pod(
    node: str | None = "n1",
    *,
    phase: str = "Running",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    container: str = "c",
    **asks: str,
) -> Object:
    """A pod of one container that asks for this, and for nothing else."""
    found = {resource(key): value for key, value in asks.items()}
    return {
        "metadata": {"name": "p", "labels": dict(labels or {}), "annotations": dict(annotations or {})},
        "spec": {"containers": [{"name": container, "resources": {"requests": found}}], "nodeName": node},
        "status": {"phase": phase},
    }

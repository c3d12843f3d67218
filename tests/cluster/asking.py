"""A cluster as its administrator asks it: the tests' own, or somebody's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx


class ApiServer:
    """The API server of a cluster. `kubeconfig` is the file with which others ask it as the same administrator."""

    def __init__(self, api: httpx.Client, kubeconfig: Path, context: str) -> None:
        self.api, self.kubeconfig, self.context = api, kubeconfig, context

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        return self.api.get(path).status_code == 200

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """An object, or a list of them."""
        return dict(self.api.get(path, params=query).raise_for_status().json())

    def create(self, path: str, body: Mapping[str, Any], **query: str) -> httpx.Response:
        """Create an object strictly: a field that does not exist is an error."""
        return self.api.post(path, params={"fieldValidation": "Strict", **query}, json=body)

    def apply(self, path: str, body: Mapping[str, Any], **query: str) -> httpx.Response:
        """Apply an object server-side and strictly."""
        return self.api.patch(
            path,
            params={"fieldManager": "dure", "force": "true", "fieldValidation": "Strict", **query},
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def is_ready(self) -> bool:
        """Whether the API server says so."""
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


def may_be_used(node: Mapping[str, Any]) -> bool:
    """Whether a node is ready, and takes whatever pod the scheduler gives it."""
    spec, conditions = node["spec"], node["status"].get("conditions") or ()
    ready = any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)
    return ready and not spec.get("unschedulable") and not spec.get("taints")

"""A whole portal beside the cluster, whose servers are pods of it, and what its people do and see."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from tests.cluster.apart import ADDRESS
from tests.cluster.control_plane import ControlPlane
from tests.e2e.portal import Portal, make_portal
from tests.support.hub import xsrf


def make_beside(cluster: ControlPlane, folder: Path, space: str, image: str, **more: str) -> Portal:
    """One that is not up yet: its servers are pods of this namespace, from this image. `more` are settings."""
    made = make_portal(
        folder,
        DURE_BACKEND="kubernetes",
        DURE_KUBECONFIG=str(cluster.kubeconfig),
        DURE_NAMESPACE_DEV=space,
        DURE_SERVER_IMAGE=image,
        DURE_IMAGE_PULL_POLICY="Never",
        DURE_HOST="0.0.0.0",  # noqa: S104 - of a network that has no way out
        DURE_INSECURE_HTTP="true",
        **more,
    )
    made.environment["DURE_PODS_URL"] = f"http://{ADDRESS}:{made.port}"
    return made


def ask(client: httpx.Client, profile: str, name: str = "default") -> dict[str, Any]:
    """A server of this profile."""
    answer = client.post("/environments", json={"id": new_id(), "name": name, "profile": profile})
    assert answer.status_code in (200, 201, 202), answer.text
    return dict(answer.json())


def seen(client: httpx.Client, name: str = "default") -> dict[str, Any]:
    """What its owner sees of it."""
    return dict(client.get(f"/environments/{name}").raise_for_status().json())


def is_in(client: httpx.Client, phase: str, what: Portal, timeout_s: float = 120) -> dict[str, Any]:
    """What is seen of it once it is in this phase."""
    deadline = time.monotonic() + timeout_s
    while (found := seen(client))["phase"] != phase:
        if found["phase"] == "failed" or time.monotonic() > deadline:
            pytest.fail(f"{found}\n{what.logs()}")
        time.sleep(0.2)
    return found


def pods_in(cluster: ControlPlane, space: str, **query: str) -> list[dict[str, Any]]:
    """All pods of a namespace."""
    return list(cluster.get(f"/api/v1/namespaces/{space}/pods", **query)["items"])


def token_of(cluster: ControlPlane, pod: dict[str, Any]) -> str:
    """That of a server, from its Secret."""
    metadata = pod["metadata"]
    secret = cluster.get(f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}")
    return base64.b64decode(secret["data"]["JUPYTERHUB_API_TOKEN"]).decode()


def knows(portal: Portal, token: str) -> int:
    """What the hub answers to whoever shows this token."""
    shown = {"Authorization": f"token {token}"}
    return httpx.get(f"{portal.url}/hub/api/user", headers=shown, timeout=30).status_code


def lab_answers(portal: Portal, name: str) -> bool:
    """Whether this person, logged in as people are, gets their JupyterLab."""
    with httpx.Client(base_url=portal.url, timeout=60, follow_redirects=True) as browser:
        form = browser.get(f"/user/{name}/lab")
        if form.status_code != 200:
            return False
        said = {"username": name, "password": portal.passwords[name], "_xsrf": xsrf(form.text)}
        return "jupyter-config-data" in browser.post(str(form.url), data=said).text


def say(cluster: ControlPlane, space: str, node: str) -> None:
    """What the cluster says of pods and node, which pytest shows of a test that failed."""
    for pod in pods_in(cluster, space):
        print(pod["metadata"]["name"], pod["metadata"].get("deletionTimestamp"), json.dumps(pod["status"]))
    for one in cluster.get(f"/api/v1/namespaces/{space}/events")["items"][-40:]:
        print(one.get("lastTimestamp") or one.get("eventTimestamp"), one["involvedObject"]["name"], one["message"])
    about = cluster.get(f"/api/v1/nodes/{node}")
    print(about["spec"].get("taints"), json.dumps(about["status"]["conditions"]))

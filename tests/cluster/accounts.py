"""The account of a chart's portal, with the rights that the chart gives it, and commands run as it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster import helm
from tests.cluster.control_plane import ControlPlane
from tests.cluster.objects import make_namespace
from tests.cluster.test_chart_applied import place_of

KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def make_account(cluster: ControlPlane, namespaces: Mapping[str, str], **values: Any) -> Path:
    """Its namespaces, rights and token; the file with which it asks."""
    for name in namespaces.values():
        if not cluster.exists(f"/api/v1/namespaces/{name}"):
            make_namespace(cluster, name)
    give_rights(cluster, namespaces, **values)
    where = f"/api/v1/namespaces/{namespaces['platform']}/serviceaccounts/dure-portal"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    user = f"dure-portal-of-{namespaces['platform']}"
    cluster.tokens[user] = cluster.create(f"{where}/token", asked).raise_for_status().json()["status"]["token"]
    return cluster.write_kubeconfig(user)


def give_rights(cluster: ControlPlane, namespaces: Mapping[str, str], **values: Any) -> None:
    """Those of the chart with these values, in place of what it had."""
    for one in helm.template(values={"namespaces": dict(namespaces), **values}):
        if one["kind"] in KINDS:
            cluster.apply(place_of(one), one).raise_for_status()


def dure(*words: str, data: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """The command, as a container of the chart's pod runs it."""
    said = {
        f"DURE_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
    known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    environment = {**known, "DURE_LANGUAGE": "en", "DURE_DATA": str(data), **said}
    words = (sys.executable, "-m", "dure.cli", *words)
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)

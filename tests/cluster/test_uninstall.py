"""A portal taken off a real cluster: no pod runs on, no finalizer keeps a namespace, homes and passwords stay."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dure_hub.backends.kubernetes.pods import make_home_claim, make_pod, make_secret
from tests.cluster import helm
from tests.cluster.asking import ApiServer
from tests.cluster.names import named
from tests.cluster.programs import until
from tests.cluster.test_deploy import Deploy
from tests.cluster.test_pods import spec
from tools.kube import Trouble, find

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"gone-{name}") for name in ("dev", "training", "serving", "platform")}
DEV, PLATFORM = NAMESPACES["dev"], NAMESPACES["platform"]
OURS = {"app.kubernetes.io/managed-by": "dure", "dure/portal": "p1"}


@pytest.fixture
def deploy(cluster: ApiServer, tmp_path: Path) -> Iterator[Deploy]:
    """A portal that is installed, of which nothing comes up, with servers of people."""
    try:
        find("kubectl")
    except Trouble as why:
        pytest.skip(str(why))
    values = tmp_path / "own.yaml"
    nowhere = {"nodeSelector": {"test/for": "nobody"}}
    values.write_text(yaml.safe_dump({"namespaces": NAMESPACES, "portal": nowhere, "envoy": nowhere}))
    made = Deploy(cluster, values)
    assert "Not ready" in made.install(1).stdout
    for number, where in enumerate(("dev", "dev", "training", "serving")):
        one = spec(f"server-{number}", namespace=NAMESPACES[where], labels={"test/for": "nobody"}, resources={})
        pod = make_pod(one)
        cluster.create(f"/api/v1/namespaces/{NAMESPACES[where]}/pods", pod).raise_for_status()
    secret = make_secret(spec("server-0", namespace=DEV, secret="server-0"), {"TOKEN": "x"})
    cluster.create(f"/api/v1/namespaces/{DEV}/secrets", secret).raise_for_status()
    home = make_home_claim("home-ana", DEV, OURS, 1, None)
    cluster.create(f"/api/v1/namespaces/{DEV}/persistentvolumeclaims", home).raise_for_status()
    stranger = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": DEV}}
    cluster.create(f"/api/v1/namespaces/{DEV}/secrets", stranger).raise_for_status()
    yield made
    free(cluster)
    helm_run(cluster, "uninstall", "dure", "--namespace", PLATFORM, "--ignore-not-found")
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")
    until(lambda: not any(cluster.exists(f"/api/v1/namespaces/{name}") for name in NAMESPACES.values()), "an end")


def helm_run(cluster: ApiServer, *words: str) -> None:
    """Helm, on this cluster."""
    helm.run(*words, environment={"KUBECONFIG": str(cluster.kubeconfig)})


def free(cluster: ApiServer) -> None:
    """Take finalizers off what a failed test has left."""
    for name in NAMESPACES.values():
        for pod in cluster.get(f"/api/v1/namespaces/{name}/pods")["items"]:
            body = json.dumps({"metadata": {"finalizers": None}})
            where = f"/api/v1/namespaces/{name}/pods/{pod['metadata']['name']}"
            cluster.api.patch(where, content=body, headers={"Content-Type": "application/merge-patch+json"})


def left(cluster: ApiServer, kind: str) -> set[str]:
    """Names in people's namespaces."""
    found = (
        cluster.get(f"/api/v1/namespaces/{NAMESPACES[name]}/{kind}") for name in ("dev", "training", "serving")
    )
    return {one["metadata"]["name"] for those in found for one in those["items"]}


def is_removed(cluster: ApiServer) -> None:
    """Nothing of the portal's is there but what is to stay; and its namespace can go, too."""
    assert left(cluster, "pods") == set()
    assert left(cluster, "secrets") == {"theirs"}, "the tokens of servers are gone, and nobody else's"
    assert left(cluster, "persistentvolumeclaims") == {"home-ana"}
    assert not cluster.exists(f"/apis/apps/v1/namespaces/{PLATFORM}/statefulsets/dure-portal")
    assert cluster.exists(f"/api/v1/namespaces/{PLATFORM}/secrets/dure-admin")
    free_of_claims(cluster)
    cluster.api.delete(f"/api/v1/namespaces/{DEV}")
    until(lambda: not cluster.exists(f"/api/v1/namespaces/{DEV}"), "the namespace to be gone")


def free_of_claims(cluster: ApiServer) -> None:
    """A claim that nobody uses is removed with its namespace; none holds it here."""
    claim: dict[str, Any] = cluster.get(f"/api/v1/namespaces/{DEV}/persistentvolumeclaims/home-ana")
    assert claim["status"]["phase"] == "Pending"


def test_uninstalled_by_helm_alone_peoples_pods_stay_and_cannot_be_deleted(deploy: Deploy) -> None:
    """Why there is an order: else the tests below would prove nothing."""
    cluster = deploy.cluster
    helm_run(cluster, "uninstall", "dure", "--namespace", PLATFORM)
    assert left(cluster, "pods") == {f"server-{number}" for number in range(4)}
    cluster.api.delete(f"/api/v1/namespaces/{DEV}/pods/server-0").raise_for_status()
    assert cluster.get(f"/api/v1/namespaces/{DEV}/pods/server-0")["metadata"]["deletionTimestamp"]
    run_page(deploy, after_helm=True)
    is_removed(cluster)


def test_the_command_takes_all_of_it_away_and_says_what_stays(deploy: Deploy) -> None:
    done = deploy("uninstall", "--platform", PLATFORM)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Ending 2 pods in {DEV} ..." in done.stdout
    assert f"the namespaces {' '.join(NAMESPACES.values())}" in done.stdout
    is_removed(deploy.cluster)
    again = deploy("uninstall", "--platform", PLATFORM)
    assert (again.returncode, "There is no portal in the namespace" in again.stderr) == (1, True), again.stderr


def test_the_order_that_the_page_says_takes_all_of_it_away(deploy: Deploy) -> None:
    run_page(deploy)
    is_removed(deploy.cluster)


def run_page(deploy: Deploy, *, after_helm: bool = False) -> None:
    """What docs/kubernetes.md says, in these namespaces; the loop alone where the release is gone."""
    page = (helm.ROOT / "docs" / "kubernetes.md").read_text()
    (text,) = re.findall(r"```sh\n# uninstall\n(.*?)```", page, re.DOTALL)
    for kind, name in NAMESPACES.items():
        text = text.replace(f"mlops-{kind}", name)
    if after_helm:
        text = text[text.index("for namespace") : text.index("helm uninstall")]
    programs = deploy.values.parent / "programs"
    programs.mkdir()
    for name, place in (("helm", helm.program()), ("kubectl", shutil.which(find("kubectl")))):
        (programs / name).symlink_to(str(place))
    known = {"PATH": f"{programs}:{os.environ['PATH']}", "KUBECONFIG": str(deploy.cluster.kubeconfig)}
    done = subprocess.run(
        ["sh", "-eu", "-c", text], env={**os.environ, **known}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr

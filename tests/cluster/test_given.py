"""The tests on somebody's cluster: this one, as if it were a stranger's with a portal and other runs on it."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.cluster import apart, given
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import prefix
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tools.kube import Trouble, find

pytestmark = pytest.mark.anywhere

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROLES = given.WIDE[1]
DEAD, ELSEWHERE, GOING = "00dead", "00e15e", "00901e"
"""Marks of runs: killed here, of another machine, and going on here."""
CHANGES = [
    ("POST", "/api/v1/namespaces", "mlops-dev", False),
    ("POST", "/api/v1/namespaces", "dure-test-abcdef-dev", False),
    ("POST", "/api/v1/namespaces", "OURS-dev", True),
    ("POST", "/api/v1/namespaces/OURS-dev/pods", "any", True),
    ("POST", "/api/v1/namespaces/mlops-dev/pods", "OURS-dev", False),
    ("DELETE", "/api/v1/namespaces/mlops-dev", "", False),
    ("DELETE", "/api/v1/namespaces/OURS-dev", "", True),
    ("DELETE", "/api/v1/namespaces", "", False),
    ("PATCH", "/api/v1/nodes/a/status", "", False),
    ("POST", "/api/v1/nodes", "OURS-node", False),
    ("DELETE", "/api/v1/nodes", "", False),
    ("PATCH", f"{ROLES}/dure-inventory-OURS-dev", "", True),
    ("PATCH", f"{ROLES}/dure-inventory-mlops-platform", "", False),
    ("DELETE", ROLES, "", False),
    ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "OURS-x", False),
    ("POST", "/api/v1/persistentvolumes", "OURS-x", False),
    ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "x", True),
    ("GET", "/api/v1/namespaces/mlops-dev/pods", "", True),
    ("POST", "/api/v1/namespaces/mlops-dev/pods?dryRun=All", "any", True),
]


@pytest.mark.parametrize(("method", "path", "name", "allowed"), CHANGES)
def test_only_what_is_of_this_run_can_be_changed_there(method: str, path: str, name: str, allowed: bool) -> None:
    path, name = (one.replace("OURS-", prefix()) for one in (path, name))
    request = httpx.Request(method, f"https://theirs{path}", json={"metadata": {"name": name}})
    if allowed:
        given.refuse_others(request)
    else:
        with pytest.raises(given.NotOurs, match="is not of this run"):
            given.refuse_others(request)


def test_without_a_context_nobodys_current_one_is_used(tmp_path: Path) -> None:
    known = {name: value for name, value in os.environ.items() if name != given.CONTEXT}
    words = [sys.executable, "-m", "tests.cluster", str(HERE / "test_pods.py")]
    environment = {**known, given.KUBECONFIG: str(tmp_path / "config")}
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "no context" in done.stdout) == (1, True), done.stdout + done.stderr


@dataclass
class Theirs:
    """Somebody's cluster, and how they would name it."""

    plane: ControlPlane
    environment: Mapping[str, str]

    def words(self, *words: str) -> list[str]:
        """How the tests are begun."""
        return [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *words]

    def run(self, *words: str) -> str:
        """What these tests say; none may fail."""
        done = subprocess.run(
            self.words(*words), env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        return done.stdout

    def names(self, kind: str) -> set[str]:
        """Of all objects of a kind but those that are going."""
        items = self.plane.get(kind)["items"]
        return {one["metadata"]["name"] for one in items if "deletionTimestamp" not in one["metadata"]}


@pytest.fixture(scope="module")
def theirs(own: ControlPlane, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    """This cluster; the current context of the file leads to none."""
    try:
        find("kubectl")
    except Trouble as why:
        pytest.skip(str(why))
    config: dict[str, Any] = yaml.safe_load(own.kubeconfig.read_text())
    config["clusters"].append({"name": "wrong", "cluster": {"server": "https://127.0.0.1:9"}})
    config["contexts"].append({"name": "wrong", "context": {"cluster": "wrong", "user": "admin"}})
    config["current-context"] = "wrong"
    file = tmp_path_factory.mktemp("theirs") / "config"
    file.write_text(yaml.safe_dump(config))
    load = shlex.join(["ctr", "--address", str(node.socket), "--namespace", "k8s.io", "images", "import", "{}"])
    known = {name: value for name, value in os.environ.items() if name != apart.FOLDER}
    named = {given.CONTEXT: own.context, given.KUBECONFIG: str(file), given.LOAD: load}
    return Theirs(own, {**known, **named})


@pytest.fixture
def others(own: ControlPlane) -> Iterator[None]:
    """A portal's namespace and role, and what runs have left: one killed, one of another machine, one going on."""
    made = [make_namespace(own, name) for name in ("mlops-dev", *(f"{prefix(mark)}x" for mark in MARKS))]
    roles = [f"dure-inventory-{name}" for name in ("mlops-platform", f"{prefix(DEAD)}x")]
    for name in roles:
        body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
        own.create(ROLES, body).raise_for_status()
    pod = {"name": "p", "namespace": f"{prefix(DEAD)}x", "finalizers": ["dure/record"]}
    spec = {"nodeSelector": {"no": "such"}, "containers": [{"name": "c", "image": "i"}]}
    place = f"/api/v1/namespaces/{pod['namespace']}"
    own.api.patch(place, json={"metadata": {"labels": None}}, headers=MERGE).raise_for_status()
    own.create(
        f"{place}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": spec}
    ).raise_for_status()
    given.runs().mkdir(parents=True, exist_ok=True)
    (given.runs() / DEAD).touch()
    with (given.runs() / GOING).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    (given.runs() / GOING).unlink()
    for name in roles:
        own.api.delete(f"{ROLES}/{name}")
    for name in made:
        own.api.delete(f"/api/v1/namespaces/{name}")


MARKS = (DEAD, ELSEWHERE, GOING)
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.mark.usefixtures("others")
def test_a_run_leaves_somebodys_cluster_as_it_was_and_removes_what_a_killed_one_left(theirs: Theirs) -> None:
    kinds = (given.NAMESPACES, *given.WIDE)
    before = {kind: theirs.names(kind) for kind in kinds}
    nodes = {
        one["metadata"]["uid"]: one["metadata"]["labels"] for one in theirs.plane.get("/api/v1/nodes")["items"]
    }
    said = theirs.run(
        "tests/cluster/test_pods.py", "tests/cluster/test_runs.py", "-k", "pods or ended_is or silence"
    )
    assert re.search(rf"the context {theirs.plane.context} \(https://127", said), said
    assert f"left: {prefix(DEAD)}" in said
    assert "kwok looks after" in said
    assert "may be killed" in said, "each that is left out says why"
    assert int(re.findall(r"(\d+) passed", said)[0]) >= 9, said
    swept = {given.NAMESPACES: f"{prefix(DEAD)}x", ROLES: f"dure-inventory-{prefix(DEAD)}x"}
    for kind in kinds:
        assert theirs.names(kind) == before[kind] - {swept.get(kind, "")}, kind
    assert nodes == {
        one["metadata"]["uid"]: one["metadata"]["labels"] for one in theirs.plane.get("/api/v1/nodes")["items"]
    }


def test_what_a_killed_run_has_left_is_removed_by_the_next(theirs: Theirs) -> None:
    before = theirs.names(given.NAMESPACES)
    words = theirs.words("tests/cluster/test_runs.py", "-k", "test_how_it_ended_is_known")
    with subprocess.Popen(words, env=theirs.environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        until(lambda: theirs.names(given.NAMESPACES) - before, "its namespace")
        process.send_signal(signal.SIGKILL)
    (left,) = theirs.names(given.NAMESPACES) - before
    assert left.endswith("-training")
    theirs.run("tests/cluster/test_pods.py", "-k", "home")
    assert theirs.names(given.NAMESPACES) == before


def test_a_run_of_another_machine_is_over_after_its_time_alone() -> None:
    assert not given.is_over("0nobody", given.LEFT)
    assert given.is_over("0nobody", given.LEFT + timedelta(seconds=1))

"""Images at a registry that asks who comes: published there, named by the chart, and fetched by a real kubelet."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cluster import helm, images
from tests.cluster.apart import ADDRESS
from tests.cluster.charted import containers
from tests.cluster.control_plane import ControlPlane
from tests.cluster.image_pods import Pods
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import Program, until
from tests.support.certificates import Authority
from tools import images as tool
from tools.image_builder import Builder, Unbuildable

PUBLISHED = "envoy"
"""The smallest of ours."""
HOST, NAMESPACE = f"{ADDRESS}:5443", named("registry")
PREFIX = f"{HOST}/team/dure"
USER, WORD = "somebody", "fetch-1"
KNOWN = f"{USER}:$2b$04$abcdefghijklmnopqrstuurbVIHxCHoxuejk3TSikIq9t7kEoI4iu\n"
"""Who may come, with the word above, as htpasswd writes it."""


@dataclass(frozen=True)
class Registry:
    """Debian's docker-registry, which nobody reaches without a login."""

    folder: Path
    authority: Authority
    program: Program

    def answers(self) -> bool:
        """Whether it refuses whom it does not know."""
        trusted = ssl.create_default_context(cafile=self.authority.file)
        try:
            return httpx.get(f"https://{HOST}/v2/", verify=trusted).status_code == 401
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def registry(own: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One at the bridge's address, with a certificate."""
    if shutil.which("docker-registry") is None:
        pytest.skip("There is no docker-registry here: sudo apt-get install -y docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    authority = Authority(folder)
    certificate, key = authority.sign(None, ADDRESS)
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key)
    (folder / "people").write_text(KNOWN)
    tls = {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
    said = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": HOST, "tls": tls},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "people")}},
    }
    (folder / "registry.yaml").write_text(yaml.safe_dump(said))
    program = Program(folder, "registry", ["docker-registry", "serve", folder / "registry.yaml"])
    made = Registry(folder, authority, program)
    program.start()
    try:
        program.up(made.answers)
        yield made
    finally:
        program.stop()


@pytest.fixture(scope="module")
def published(registry: Registry) -> Path:
    """What `make images PUSH=…` writes for the chart once it has published."""
    if why := images.why_not():
        pytest.skip(why)
    if not images.is_there(PUBLISHED):
        pytest.skip(f"{images.ASKED} does not name {PUBLISHED}.")
    file = registry.folder / "images.yaml"
    with (
        images.locked(),
        tempfile.TemporaryDirectory(dir=registry.folder) as run,
        pytest.MonkeyPatch.context() as set_to,
    ):
        for name, value in images.environment(run).items():
            set_to.setenv(name, value)
        set_to.setenv("SSL_CERT_FILE", str(registry.authority.file))
        set_to.setenv("REGISTRY_AUTH_FILE", str(registry.folder / "login.json"))
        with pytest.raises(Unbuildable, match="buildah push failed"):
            tool.publish([PUBLISHED], PREFIX, Builder("buildah"), file)
        login = ["buildah", "login", "--username", USER, "--password-stdin", HOST]
        subprocess.run(login, input=WORD, text=True, check=True, capture_output=True)
        tool.publish([PUBLISHED], PREFIX, Builder("buildah"), file)
    return file


@pytest.fixture(scope="module")
def pods(own: ControlPlane, node: Node, registry: Registry, published: Path) -> Iterator[Pods]:
    """Pods of the image as the chart names it, on a node that does not have it."""
    node.trust(HOST, registry.authority.file)
    namespace = make_namespace(own, NAMESPACE)
    login = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "registry"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {HOST: {"auth": login}}})},
    }
    own.create(f"/api/v1/namespaces/{namespace}/secrets", secret).raise_for_status()
    objects = helm.template("minimal", also=["--values", str(published)])
    made = Pods(own, node.name, dict(containers(objects))["dure-envoy/envoy"]["image"], namespace)
    yield made
    made.remove()


def test_the_chart_names_what_was_published_by_its_digest(published: Path, pods: Pods) -> None:
    digest = yaml.safe_load(published.read_text())["images"]["digests"][PUBLISHED]
    assert pods.image == f"{PREFIX}/{PUBLISHED}@{digest}"


def test_a_node_fetches_it_with_the_pull_secret_that_a_pod_names(pods: Pods) -> None:
    words = ("dure", "dataplane", "bootstrap", "--help")
    assert "--xds" in pods.run(*words, pull_policy="IfNotPresent", pull_secrets=("registry",))


def test_a_node_is_refused_without_one(pods: Pods) -> None:
    name = pods.start("true", pull_policy="Always")

    def waits() -> str:
        states = [one["state"] for one in pods.seen(name).get("containerStatuses", ())]
        return "".join(one.get("waiting", {}).get("message", "") for one in states)

    until(lambda: "authorization failed" in waits() or "401" in waits(), "the registry to refuse")

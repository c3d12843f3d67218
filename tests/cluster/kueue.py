"""The real Kueue beside the control plane: its own definitions and webhooks, of the module that it is built of."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.apart import ADDRESS
from tests.cluster.builds import kueue_files, path
from tests.cluster.control_plane import ControlPlane
from tests.cluster.programs import Program, until

NAMESPACE, SERVICE, SECRET = "kueue-system", "kueue-webhook-service", "kueue-webhook-server-cert"
PORT, HEALTH = 9643, 9681
"""Of its webhooks and of its health; other controllers have the usual ones."""
INTEGRATIONS = ("pod", "batch/job")
OWN = {"clusterqueue", "cohort", "resourceflavor", "workload", "localqueue"}
THEIRS = {"pod": "pod", "job": "batch/job"}
HOOKS = "/apis/admissionregistration.k8s.io/v1"
GROUP = "/apis/kueue.x-k8s.io/v1beta2"


class Kueue:
    """Kueue for the pods and jobs of this cluster. `settings` are added to its configuration."""

    def __init__(self, plane: ControlPlane, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.plane, self.folder = plane, folder
        folder.mkdir(parents=True)
        self.certificates = folder / "certificates"
        self.certificates.mkdir()
        configuration = folder / "kueue.yaml"
        configuration.write_text(yaml.safe_dump(self._configuration() | dict(settings or {})))
        words = [
            path("kueue"),
            f"--config={configuration}",
            f"--kubeconfig={plane.kubeconfig}",
            "--feature-gates=VisibilityOnDemand=false",  # it would ask for the configuration of a pod
        ]
        self.program = Program(folder, "kueue", words)

    def start(self) -> None:
        """Start it; returns once its webhooks answer, so that whatever is created from now on is judged."""
        self._install()
        self.program.start()
        self.program.up(self._has_certificates)
        self.program.up(self.answers)

    def answers(self) -> bool:
        """Whether its webhooks judge, told by one that refuses what the definitions alone would take."""
        wrong = {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "kind": "ResourceFlavor",
            "metadata": {"name": "probe"},
            "spec": {"nodeLabels": {"not a label": "x"}},
        }
        answer = self.plane.create(f"{GROUP}/resourceflavors", wrong, dryRun="All")
        return "vresourceflavor.kb.io" in answer.text and answer.status_code in (403, 422)

    def stop(self) -> None:
        """End it. Its webhooks go first: without it, they would refuse every pod."""
        for kind in ("mutating", "validating"):
            address = f"{HOOKS}/{kind}webhookconfigurations/kueue-{kind}-webhook-configuration"
            self.plane.api.delete(address)
        self.program.stop()

    def _configuration(self) -> dict[str, Any]:
        """That of its module, with what differs beside a cluster and not in it."""
        file = kueue_files() / "manager" / "controller_manager_config.yaml"
        return {
            **yaml.safe_load(file.read_text()),
            "namespace": NAMESPACE,
            "health": {"healthProbeBindAddress": f"127.0.0.1:{HEALTH}"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"port": PORT, "certDir": str(self.certificates)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {
                "enable": True,
                "webhookServiceName": SERVICE,
                "webhookSecretName": SECRET,
            },
            "integrations": {"frameworks": list(INTEGRATIONS)},
        }

    def _install(self) -> None:
        self._apply(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        )
        names = []
        for body in _definitions():
            names.append(body["metadata"]["name"])
            self._apply("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        until(lambda: all(self._is_established(name) for name in names), "the definitions to be established")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}}
        self._apply(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
        for address, body in _service():
            self._apply(address, body)
        for body in _webhooks():
            self._apply(f"{HOOKS}/{body['kind'].lower()}s", body)

    def _apply(self, address: str, body: Mapping[str, Any]) -> None:
        answer = self.plane.apply(f"{address}/{body['metadata']['name']}", body)
        assert answer.is_success, answer.text

    def _is_established(self, name: str) -> bool:
        found = self.plane.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        conditions = found.get("status", {}).get("conditions") or ()
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    def _has_certificates(self) -> bool:
        """It makes them into a Secret, and waits until they are in its folder, where a kubelet would put them."""
        data = self.plane.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}").get("data") or {}
        if "tls.crt" not in data:
            return False
        for name in ("ca.crt", "tls.key", "tls.crt"):  # the last is what it waits for
            file = self.certificates / name
            file.touch(mode=0o600)
            file.write_bytes(base64.b64decode(data[name]))
        return True


def _definitions() -> Iterator[dict[str, Any]]:
    """Its definitions, with the conversion that its patches add."""
    folder = kueue_files() / "crd"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    patches = {}
    for one in listed["patches"]:
        patch = yaml.safe_load((folder / one["path"]).read_text())
        patches[patch["metadata"]["name"]] = patch["spec"]["conversion"]
    for name in listed["resources"]:
        body = yaml.safe_load((folder / name).read_text())
        if conversion := patches.get(body["metadata"]["name"]):
            conversion["webhook"]["clientConfig"]["service"] |= {"namespace": NAMESPACE, "name": SERVICE}
            body["spec"]["conversion"] = conversion
        body.pop("status", None)
        yield body


def _webhooks() -> Iterator[dict[str, Any]]:
    """Its webhooks for its own objects and for what it is to look after. It and the system are let alone."""
    apart = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
    for body in yaml.safe_load_all((kueue_files() / "webhook" / "manifests.yaml").read_text()):
        body["metadata"]["name"] = f"kueue-{body['metadata']['name']}"
        kept = []
        for hook in body["webhooks"]:
            name = hook["name"].removesuffix(".kb.io")[1:]
            if name in OWN or THEIRS.get(name) in INTEGRATIONS:
                hook["clientConfig"]["service"] |= {"namespace": NAMESPACE, "name": SERVICE}
                if name in THEIRS:
                    hook["namespaceSelector"] = {"matchExpressions": [apart]}
                kept.append(hook)
        yield {**body, "webhooks": kept}


def _service() -> Iterator[tuple[str, dict[str, Any]]]:
    """A Service without a selector, and who answers for it: the machine, by its end of the bridge."""
    metadata = {"name": SERVICE, "namespace": NAMESPACE}
    port = {"name": "webhook", "port": 443, "targetPort": PORT, "protocol": "TCP"}
    yield (
        f"/api/v1/namespaces/{NAMESPACE}/services",
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port]}},
    )
    yield (
        f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "IPv4",
            "ports": [{"name": "webhook", "port": PORT, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        },
    )

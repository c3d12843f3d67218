"""What most clusters have beside their nodes: addresses of Services, names for these, and volumes for who asks.

The addresses are kube-proxy's, the names CoreDNS's, in a pod as anywhere. Volumes are folders (`provisioner.py`).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.apart import BRIDGE, NETWORK
from tests.cluster.archive import make_image
from tests.cluster.builds import path
from tests.cluster.control_plane import SERVICES, ControlPlane
from tests.cluster.node import DNS, Node
from tests.cluster.programs import Program, until
from tests.cluster.provisioner import make_class

IMAGE = "localhost/coredns:1"
SYSTEM = "/api/v1/namespaces/kube-system"
CLASS = "/apis/storage.k8s.io/v1/storageclasses"
RIGHTS = "/apis/rbac.authorization.k8s.io/v1"
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""What one pod sends another passes the rules too: without that, an answer comes from whom nobody asked."""
KERNEL = (FORWARD, BRIDGED)
COREFILE = """.:53 {
    errors
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa
    cache 30
}
"""
LABELS = {"k8s-app": "kube-dns"}
"""By which policies everywhere know the cluster's DNS."""
NAMES = "coredns"


def why_not() -> str:
    """Why there can be none here; empty where there can."""
    missing = [name for name in ("nft",) if shutil.which(name, path="/usr/sbin:/sbin:/usr/bin") is None]
    missing += [str(file) for file in KERNEL if not file.exists()]
    return f"Services need {', '.join(missing)}." if missing else ""


class Services:
    """All three, for one node. While they are there, a claim that names no class is given a volume."""

    def __init__(self, plane: ControlPlane, node: Node, folder: Path) -> None:
        self.plane, self.node, self.folder = plane, node, folder
        self.volumes = folder / "volumes"
        self.volumes.mkdir(parents=True)
        configuration = folder / "kube-proxy.yaml"
        configuration.write_text(yaml.safe_dump(self._proxy()))
        self.proxy = Program(folder, "kube-proxy", [path("kube-proxy"), f"--config={configuration}"])
        words = [sys.executable, "-m", "tests.cluster.provisioner", plane.kubeconfig, self.volumes]
        self.provisioner = Program(folder, "provisioner", words)
        self._before: dict[Path, str] = {}

    def start(self) -> None:
        """Start them; returns once a Service's address leads to its pod."""
        for file in KERNEL:
            self._before[file] = file.read_text()
            file.write_text("1")
        self._route("add")
        self.proxy.start()
        self.provisioner.start()
        self.plane.create(CLASS, make_class("standard")).raise_for_status()
        image = self.folder / "coredns.tar"
        make_image(path("coredns"), IMAGE, image)
        self.node.load(image)
        for where, body in self._names():
            self.plane.create(where, body).raise_for_status()
        self.proxy.up(lambda: answers("10.67.0.1", 443))
        self.proxy.up(lambda: answers(DNS, 53))

    def stop(self) -> None:
        """End them, and leave the kernel as it was."""
        for where, body in reversed(self._names()):
            self.plane.api.delete(f"{where}/{body['metadata']['name']}", params={"gracePeriodSeconds": "0"})
        self.plane.api.delete(f"{CLASS}/standard")
        until(lambda: not self.plane.exists(f"{SYSTEM}/pods/{NAMES}"), "the pod of CoreDNS to be gone")
        self.provisioner.stop()
        self.proxy.stop()
        subprocess.run([path("kube-proxy"), "--cleanup"], check=True, capture_output=True)
        self._route("del")
        for file, was in self._before.items():
            file.write_text(was)

    def _route(self, verb: str) -> None:
        """From this machine, too; pods have one to everywhere."""
        subprocess.run(["ip", "route", verb, SERVICES, "dev", BRIDGE], check=True)

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.plane.kubeconfig)},
            "clusterCIDR": NETWORK,
            "hostnameOverride": self.node.name,
            "conntrack": {"maxPerCore": 0},  # that is the whole machine's
        }

    def _names(self) -> list[tuple[str, dict[str, Any]]]:
        """CoreDNS with all it needs, each object with its path."""
        account = {"kind": "ServiceAccount", "name": NAMES, "namespace": "kube-system"}
        reads = [
            {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAMES}
        ports = [{"name": name, "protocol": name.upper(), "port": 53, "targetPort": 53} for name in ("udp", "tcp")]
        service = {"clusterIP": DNS, "selector": LABELS, "ports": ports}
        return [
            (f"{SYSTEM}/serviceaccounts", _object("ServiceAccount")),
            (f"{RIGHTS}/clusterroles", _object("ClusterRole", rules=reads)),
            (f"{RIGHTS}/clusterrolebindings", _object("ClusterRoleBinding", roleRef=role, subjects=[account])),
            (f"{SYSTEM}/configmaps", _object("ConfigMap", data={"Corefile": COREFILE})),
            (f"{SYSTEM}/services", _object("Service", name="kube-dns", spec=service)),
            (f"{SYSTEM}/pods", _object("Pod", labels=LABELS, spec=self._pod())),
        ]

    def _pod(self) -> dict[str, Any]:
        return {
            "serviceAccountName": NAMES,
            "nodeName": self.node.name,
            "dnsPolicy": "Default",
            "containers": [
                {
                    "name": NAMES,
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "args": ["-conf", "/etc/coredns/Corefile"],
                    "securityContext": {"runAsUser": 0},  # for its port
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                }
            ],
            "volumes": [{"name": "config", "configMap": {"name": NAMES}}],
        }


def _object(kind: str, name: str = NAMES, labels: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io/v1" if kind.startswith("ClusterRole") else "v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name, "labels": labels or {}}, **fields}


def answers(address: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True

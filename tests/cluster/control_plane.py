"""The control plane: etcd, API server, controller manager, scheduler, and kwok for nodes that are only written."""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cluster.apart import ADDRESS
from tests.cluster.asking import ApiServer, may_be_used
from tests.cluster.builds import path, stages
from tests.cluster.programs import Program, until
from tests.support.certificates import Authority, pem_of

PORT = 6443
SERVICES = "10.67.0.0/16"
ADMIN, MASTERS = "admin", "system:masters"
CONTEXT = "test"
ENDS = Path(__file__).parent / "ends.yaml"
KWOK = "kwok.x-k8s.io/node"
"""An annotation: kwok looks after nodes that have it, and says that they are ready."""


class ControlPlane(ApiServer):
    """A control plane on loopback. `api` asks it as its administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.authority = Authority(folder)
        self.tokens = {ADMIN: secrets.token_hex(16)}
        self.url = f"https://127.0.0.1:{PORT}"
        self._make_keys()
        api = httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=self.authority.file),
            headers={"Authorization": f"Bearer {self.tokens[ADMIN]}"},
            timeout=30,
        )
        super().__init__(api, self.write_kubeconfig(ADMIN), CONTEXT)
        self.etcd = Program(folder, "etcd", [path("etcd"), *self._etcd()])
        self.apiserver = Program(folder, "apiserver", [path("kube-apiserver"), *self._apiserver()])
        self.others = [
            Program(folder, "controllers", [path("kube-controller-manager"), *self._controllers()]),
            Program(folder, "scheduler", [path("kube-scheduler"), *self._clients(), "--leader-elect=false"]),
        ]

    def start(self) -> None:
        """Start all of it; returns once the API server is ready and the controllers have done their first work."""
        self.etcd.start()
        self.apiserver.start()
        self.apiserver.up(self.is_ready)
        for program in self.others:
            program.start()
        self.others[0].up(lambda: self.exists("/api/v1/namespaces/default/serviceaccounts/default"))

    def stop(self) -> None:
        """End all of it: the API server before its etcd."""
        for program in (*reversed(self.others), self.apiserver, self.etcd):
            program.stop()
        self.api.close()

    def start_kwok(self) -> None:
        """Have nodes and pods that exist only in writing behave as if they ran."""
        words = [
            path("kwok"),
            f"--kubeconfig={self.kubeconfig}",
            f"--manage-nodes-with-annotation-selector={KWOK}=fake",
            *(f"--config={file}" for file in (*stages(), ENDS)),
        ]
        program = Program(self.folder, "kwok", words)
        program.start()
        self.others.append(program)

    # -- what only the tests' own has done to it

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its API server is killed, and back afterwards, with all that follow it.

        By themselves these look again after up to a minute (client-go's back-off), and judge until then by what
        they saw before: nodes of which they have long heard nothing are given up. So they begin anew with it.
        """
        before = self._ready()
        self.apiserver.kill()
        try:
            yield
        finally:
            for program in self.others:
                program.kill()
            self.apiserver.start()
            self.apiserver.up(self.is_ready)
            for program in self.others:
                program.start()
            until(lambda: before <= self._ready(), f"{', '.join(sorted(before))} to be ready again")

    def _ready(self) -> set[str]:
        """Real nodes onto which the scheduler may put any pod."""
        return {
            one["metadata"]["name"]
            for one in self.get("/api/v1/nodes")["items"]
            if KWOK not in one["metadata"].get("annotations", {}) and may_be_used(one)
        }

    def capacity(self, node: str, resources: Mapping[str, str]) -> None:
        """Give a node resources, as its device plugin would."""
        status = {"status": {"capacity": dict(resources), "allocatable": dict(resources)}}
        self.api.patch(
            f"/api/v1/nodes/{node}/status",
            content=json.dumps(status),
            headers={"Content-Type": "application/strategic-merge-patch+json"},
        ).raise_for_status()

    def label(self, node: str, labels: Mapping[str, str]) -> None:
        """Give a node labels, as GPU feature discovery would."""
        self.api.patch(
            f"/api/v1/nodes/{node}",
            content=json.dumps({"metadata": {"labels": dict(labels)}}),
            headers={"Content-Type": "application/strategic-merge-patch+json"},
        ).raise_for_status()

    def write_kubeconfig(self, user: str) -> Path:
        """A file with which this user asks."""
        file = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.authority.file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
            "current-context": CONTEXT,
        }
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(config))
        return file

    # -- how its parts are called

    def _make_keys(self) -> None:
        certificate, key = self.authority.sign(None, "127.0.0.1", ADDRESS, "10.67.0.1", "kubernetes.default.svc")
        (self.folder / "server.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self.folder / "server.key").write_bytes(key)
        certificate, key = self.authority.sign_client("apiserver", MASTERS)  # to its kubelets, for logs
        (self.folder / "client.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self.folder / "client.key").write_bytes(key)
        accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self.folder / "accounts.key").write_bytes(pem_of(accounts))
        public = accounts.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "accounts.pub").write_bytes(public)
        rows = [f'{token},{user},{user},"{MASTERS}"\n' for user, token in self.tokens.items()]
        (self.folder / "tokens.csv").write_text("".join(rows))

    def _etcd(self) -> Sequence[str]:
        clients = "http://127.0.0.1:2379"
        return (
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # what a power cut would cost ends with the test
        )

    def _apiserver(self) -> Sequence[str]:
        return (
            "--etcd-servers=http://127.0.0.1:2379",
            f"--secure-port={PORT}",
            f"--advertise-address={ADDRESS}",
            f"--tls-cert-file={self.folder / 'server.crt'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'accounts.pub'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            f"--service-cluster-ip-range={SERVICES}",
            "--enable-aggregator-routing=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={self.folder / 'client.crt'}",
            f"--kubelet-client-key={self.folder / 'client.key'}",
        )

    def _controllers(self) -> Sequence[str]:
        return (
            *self._clients(),
            "--leader-elect=false",
            "--use-service-account-credentials",
            "--kube-api-qps=1000",  # at 20, the taints of a thousand new nodes are there for minutes
            "--kube-api-burst=2000",
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            f"--root-ca-file={self.authority.file}",
        )

    def _clients(self) -> Sequence[str]:
        named = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")  # of servers in themselves
        return [f"--{name}={self.kubeconfig}" for name in named]

"""A real node of the cluster: containerd and a kubelet, whose pods are on the bridge and nowhere else."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.cluster.apart import ADDRESS, BRIDGE, NETWORK, make_groups
from tests.cluster.archive import make_image
from tests.cluster.builds import path
from tests.cluster.control_plane import ControlPlane
from tests.cluster.layout import Layout
from tests.cluster.programs import Program

PAUSE, PROBE = "localhost/pause:1", "localhost/probe:1"
SLICE = "nvidia.com/mig-1g.10gb"
PLUGINS = "/usr/lib/cni"
DNS = "10.67.0.10"
"""The address at which pods look names up, where there is somebody (`services.py`)."""
NEEDED = ("containerd", "runc", "ctr")


def why_not() -> str:
    """Why there can be no node here; empty where there can."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if not Path(PLUGINS, "bridge").exists():
        missing.append("containernetworking-plugins")
    return f"A real node needs {', '.join(missing)}." if missing else ""


class Node:
    """A node of this name; pods run on it as containers of this machine."""

    def __init__(self, plane: ControlPlane, folder: Path, name: str = "real") -> None:
        self.plane, self.folder, self.name = plane, folder, name
        self._loaded, self._layers = set[Path](), set[str]()
        folder.mkdir(parents=True)
        self.socket = folder / "containerd.sock"
        self.group = folder.parent.name
        (folder / "containerd.toml").write_text(self._containerd())
        (folder / "cni").mkdir()
        (folder / "cni" / "10-bridge.conflist").write_text(json.dumps(self._network()))
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(self._kubelet()))
        self.containerd = Program(folder, "containerd", ["containerd", "--config", folder / "containerd.toml"])
        self.kubelet = Program(
            folder,
            "kubelet",
            [
                path("kubelet"),
                f"--config={folder / 'kubelet.yaml'}",
                f"--kubeconfig={plane.kubeconfig}",
                f"--root-dir={folder / 'kubelet'}",
                f"--cert-dir={folder / 'certificates'}",
                f"--hostname-override={name}",
                f"--node-ip={ADDRESS}",
            ],
        )

    def start(self) -> None:
        """Start both; returns once the scheduler may use the node."""
        make_groups(self.group)
        self.containerd.start()
        self.containerd.up(lambda: self.ctr("version").returncode == 0)
        for program, image in (("pause", PAUSE), ("probe", PROBE)):
            made = self.folder / f"{program}.tar"
            make_image(path(program), image, made)
            self.load(made)
        self.kubelet.start()
        self.kubelet.up(self.is_ready)

    def is_ready(self) -> bool:
        """Whether its kubelet says so."""
        if not self.plane.exists(f"/api/v1/nodes/{self.name}"):
            return False
        conditions = self.plane.get(f"/api/v1/nodes/{self.name}")["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def load(self, image: Path) -> None:
        """Take an image from a tar, once."""
        if image in self._loaded:
            return
        done = self.ctr("images", "import", "--no-unpack", str(image))
        assert done.returncode == 0, done.stderr.decode()
        self._loaded.add(image)

    def load_built(self, layout: Layout, ref: str, called: str) -> None:
        """Take an image that was built, once, without the layers that are here by another."""
        archive = self.folder / f"{ref}.tar"
        if archive in self._loaded:
            return
        with archive.open("wb") as file:
            layout.write(ref, called, file, without=self._layers)
        self.load(archive)
        archive.unlink()
        self._layers.update(layout.layers(ref))

    def trust(self, registry: str, authority: Path) -> None:
        """Have it fetch from a registry, HOST:PORT, whose certificate this authority has signed."""
        place = self.folder / "registries" / registry
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(authority.read_bytes())

    def ctr(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """containerd's own tool, in the kubelet's namespace."""
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *words]
        return subprocess.run(command, capture_output=True, check=False)

    def stop(self) -> None:
        """End both. What runs in containers ends with the namespaces."""
        self.kubelet.stop()
        self.containerd.stop()

    def _containerd(self) -> str:
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return f"""version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
[grpc]
  address = "{self.socket}"
[{cri}]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
[{cri}.registry]
  config_path = "{self.folder}/registries"
[{cri}.cni]
  bin_dir = "{PLUGINS}"
  conf_dir = "{self.folder}/cni"
"""

    def _network(self) -> dict[str, object]:
        ipam = {
            "type": "host-local",
            "dataDir": str(self.folder / "addresses"),
            "ranges": [[{"subnet": NETWORK, "rangeStart": "10.66.1.0", "gateway": ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return {
            "cniVersion": "0.4.0",
            "name": "pods",
            # a pod may reach itself by the address of its Service
            "plugins": [{"type": "bridge", "bridge": BRIDGE, "hairpinMode": True, "ipam": ipam}],
        }

    def _kubelet(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.group}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.plane.authority.file)},
            },
            "clusterDNS": [DNS],
            "clusterDomain": "cluster.local",
            # another test's kubelet would clear what it does not know out of /var/log/pods
            "podLogsDir": str(self.folder / "logs"),
            # a disk that others fill is no reason to end tests' pods, nor to remove images that nobody has again
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
        }

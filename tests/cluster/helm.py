"""Helm, built once from its own go.mod: what it needs of Kubernetes differs from what the cluster is made of.

Beside it lie the definitions of the kinds that the chart makes where a cluster knows them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.builds import QUICK, cache, go

SOURCE, CRDS_SOURCE = Path(__file__).parent / "go-helm", Path(__file__).parent / "go-crds"
ROOT = Path(__file__).parents[2]
VALUES = ROOT / "helm-values"
CHART = VALUES / "dure"
CRDS = {
    "gateway.networking.k8s.io_httproutes": ("sigs.k8s.io/gateway-api", "config/crd/standard"),
    "monitoring.coreos.com_podmonitors": (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd",
    ),
}
"""Definitions of kinds: the module each is in, and the folder."""
OVERLAYS = ("minimal", "dev", "staging", "prod")


class Refused(Exception):
    """Helm ended with an error; its words are the message."""


def version() -> str:
    """As v1.2.3."""
    found = re.search(
        r"^require helm\.sh/helm/v4 (v\d+\.\d+\.\d+)$", (SOURCE / "go.mod").read_text(), re.MULTILINE
    )
    assert found, "go.mod names no version of Helm"
    return found[1]


def program() -> Path:
    """Where it lies once `build` has built it."""
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "go.sum")))
    return cache() / "cluster" / f"helm-{version()}-{digest.hexdigest()[:12]}"


def build() -> Path:
    """See that it is there; the first time takes some three minutes. One builds, others wait."""
    place = program()
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            print(f"Building Helm {version()}; some three minutes the first time.", flush=True)
            _build(place)
        for name in CRDS:
            if not definition(name).exists():
                _fetch(name)
    return place


def definition(name: str) -> Path:
    """The file that defines a kind, once `build` has fetched it."""
    digest = hashlib.sha256((CRDS_SOURCE / "go.sum").read_bytes())
    return cache() / "cluster" / f"crd-{digest.hexdigest()[:12]}-{name}.yaml"


def _fetch(name: str) -> None:
    module, folder = CRDS[name]
    for words in (("mod", "download", module), ("list", "-m", "-f", "{{.Dir}}", module)):
        done = subprocess.run(
            [go(), *words],
            cwd=CRDS_SOURCE,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            check=True,
            capture_output=True,
            text=True,
        )
    temporary = definition(name).with_suffix(".new")
    temporary.write_bytes((Path(done.stdout.strip()) / folder / f"{name}.yaml").read_bytes())
    temporary.replace(definition(name))


def _build(place: Path) -> None:
    said = f"-s -w -X helm.sh/helm/v4/internal/version.version={version()}"
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory(dir=place.parent) as made:
        words = [go(), "build", "-trimpath", QUICK, "-ldflags", said, "-o", f"{made}/", "helm.sh/helm/v4/cmd/helm"]
        subprocess.run(words, cwd=SOURCE, env=environment, check=True)
        (Path(made) / "helm").replace(place)  # whole or not at all


def run(*words: str, environment: Mapping[str, str] | None = None) -> str:
    """What Helm prints. Raises `Refused` with what it says otherwise."""
    said = subprocess.run(
        [str(program()), *words], capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if said.returncode != 0:
        raise Refused(said.stderr)
    return said.stdout


def template(
    *overlays: str, values: Mapping[str, Any] | None = None, chart: Path = CHART, also: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The objects of the chart with these overlays, and with `values` over them."""
    words = ["template", "dure", str(chart), "--namespace", "mlops-platform", *also]
    for overlay in overlays:
        words += ["--values", str(VALUES / f"{overlay}.yaml")]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values or {}), file)
        file.flush()
        said = run(*words, "--values", file.name)
    return [one for one in yaml.safe_load_all(said) if one]

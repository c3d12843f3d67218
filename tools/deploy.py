"""Installs the portal's chart on the cluster of the current context: `make deploy-minimal` and its kin.

`python -m tools.deploy install OVERLAY` installs or upgrades, waits, and says what is not ready and why;
`resources` says what is asked for and used; `port-forward` leads here; `uninstall` takes it away again, people's
pods first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tools.consumption import row_of, table, volumes_of
from tools.kube import Kube, Trouble, helm
from tools.readiness import unready
from tools.removal import remove

VALUES = Path(__file__).parents[1] / "helm-values"
RELEASE = "dure"
LOOK_S = 2.0
SWITCHES = {"USE_GPU": "useGpu", "USE_KSERVE": "useKserve"}
"""Variables that go before an overlay: true or false."""


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0 where it is done, 1 with a sentence where it is not."""
    arguments = _parser().parse_args(words)
    try:
        return int(arguments.run(arguments))
    except Trouble as why:
        sys.stderr.write(f"{why}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="install|resources|port-forward|uninstall")
    overlays = sorted(path.stem for path in VALUES.glob("*.yaml") if path.stem != "zero-to-jupyterhub")
    add = verbs.add_parser("install")
    add.add_argument("overlay", choices=overlays)
    add.add_argument("--values", action="append", default=[], metavar="FILE", help="values over the overlay's")
    add.add_argument("--patience", type=float, default=900, metavar="S", help="how long to wait (default: 900)")
    add.set_defaults(run=install)
    verbs.add_parser("resources").set_defaults(run=resources)
    verbs.add_parser("uninstall").set_defaults(run=uninstall)
    forward = verbs.add_parser("port-forward")
    forward.add_argument("--port", type=int, default=8000, help="here (default: 8000)")
    forward.set_defaults(run=port_forward)
    for verb in set(verbs.choices) - {"install"}:
        verbs.choices[verb].add_argument(
            "--platform", metavar="NAMESPACE", help="the portal's own, where there are several"
        )
    return parser


def install(arguments: argparse.Namespace) -> int:
    """Install or upgrade, and wait until all of it is ready; a second time goes on from what is there."""
    kube = Kube()
    _say(f"The cluster is that of the context {kube.context()}.")
    files = [str(VALUES / f"{arguments.overlay}.yaml"), *arguments.values]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as found:
        yaml.safe_dump(_found(kube), found)
        found.flush()
        files.insert(1, found.name)  # over the overlay, under what was asked for
        namespaces = _namespaces(files)
        _make_namespace(kube, namespaces["platform"])
        _say(f"Installing {VALUES.name}/dure with {arguments.overlay}.yaml ...")
        values = [word for file in files for word in ("--values", file)]
        helm("upgrade", "--install", RELEASE, str(VALUES / "dure"), "--namespace", namespaces["platform"], *values)
    left = wait(kube, namespaces["platform"], arguments.patience, _say)
    if left:
        _say(f"\nNot ready after {arguments.patience:.0f} s:")
        for name, why in left.items():
            _say(f"  {name}: {why}")
        _say("It is tried on; the same command waits again.\n")
    else:
        _say(f"\nThe portal is up:  {_address(kube, namespaces['platform'])}")
        _say(f"Administrator: admin. Its password:  {_password(kube, namespaces['platform'])}\n")
    _say(table_of(kube, list(namespaces.values())))
    return 1 if left else 0


def wait(kube: Kube, namespace: str, patience_s: float, say: Callable[[str], None]) -> dict[str, str]:
    """Until all is ready, or no longer than this; what is not ready then, and why."""
    began, told = time.monotonic(), dict[str, str]()
    while True:
        left = _unready(kube, namespace)
        for name, why in left.items():
            if told.get(name) != why:
                say(f"{time.monotonic() - began:4.0f} s  {name}: {why}")
        for name in told.keys() - left.keys():
            say(f"{time.monotonic() - began:4.0f} s  {name}: done")
        told = left
        if not left or time.monotonic() - began > patience_s:
            return left
        time.sleep(LOOK_S)


def _unready(kube: Kube, namespace: str) -> dict[str, str]:
    own = ("--namespace", namespace, "--selector", f"app.kubernetes.io/instance={RELEASE}")
    workloads = kube.items("deployments,statefulsets", *own)
    if not workloads:
        raise Trouble(f"There is no portal in the namespace {namespace}: `make deploy-minimal` installs one.")
    return unready(workloads, kube.items("pods", *own), kube.items("events", "--namespace", namespace))


def resources(arguments: argparse.Namespace) -> int:
    """What the portal and its people ask for, and use."""
    kube = Kube()
    kube.context()
    _say(table_of(kube, _installed(kube, arguments.platform)))
    return 0


def table_of(kube: Kube, namespaces: Sequence[str]) -> str:
    """By namespace."""
    pods = {name: kube.items("pods", "--namespace", name) for name in namespaces}
    nodes = {pod["spec"].get("nodeName") for one in pods.values() for pod in one} - {None}
    summaries = [kube.raw(f"/api/v1/nodes/{node}/proxy/stats/summary") for node in sorted(nodes)]
    known = [one for one in summaries if one is not None]
    volumes = volumes_of(known) if known and len(known) == len(summaries) else None
    rows = []
    for name in namespaces:
        claims = kube.items("persistentvolumeclaims", "--namespace", name)
        measured = kube.raw(f"/apis/metrics.k8s.io/v1beta1/namespaces/{name}/pods")
        rows.append(row_of(name, pods[name], claims, measured["items"] if measured else None, volumes))
    return table(rows)


def uninstall(arguments: argparse.Namespace) -> int:
    """Take the portal off the cluster; homes, databases and passwords stay."""
    kube = Kube()
    _say(f"The cluster is that of the context {kube.context()}.")
    remove(kube, RELEASE, _installed(kube, arguments.platform), _say)
    return 0


def port_forward(arguments: argparse.Namespace) -> int:
    """Lead a port of this machine to the portal, until Ctrl-C."""
    kube = Kube()
    kube.context()
    platform = _installed(kube, arguments.platform)[-1]
    service = kube.get("service", "dure-envoy", "--namespace", platform)
    _say(f"http://127.0.0.1:{arguments.port}")
    ports = f"{arguments.port}:{service['spec']['ports'][0]['port']}"
    kube.become("--namespace", platform, "port-forward", "service/dure-envoy", ports)
    return 0


def _found(kube: Kube) -> dict[str, Any]:
    """Values that the cluster itself knows: where its API server is; and those that variables say."""
    service = kube.get("service", "kubernetes", "--namespace", "default")
    slices = kube.items(
        "endpointslices", "--namespace", "default", "--selector", "kubernetes.io/service-name=kubernetes"
    )
    addresses = {*service["spec"].get("clusterIPs", ()), *_addresses(slices)}
    ports = {443, *(port["port"] for one in slices for port in one.get("ports") or ())}
    cidrs = [f"{one}/{128 if ':' in one else 32}" for one in sorted(addresses)]
    found: dict[str, Any] = {"networkPolicy": {"apiServer": {"cidrs": cidrs, "ports": sorted(ports)}}}
    for variable, value in SWITCHES.items():
        said = os.environ.get(variable)
        if said is not None:
            if said not in ("true", "false"):
                raise Trouble(f"{variable} is true or false, and not {said}.")
            found[value] = said == "true"
    return found


def _addresses(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    return [address for one in slices for end in one.get("endpoints") or () for address in end["addresses"]]


def _namespaces(files: Sequence[str]) -> dict[str, str]:
    """As the chart's values and these files name them, in order; the portal's own is the last."""
    named = dict[str, str]()
    for file in (VALUES / "dure" / "values.yaml", *map(Path, files)):
        named |= (yaml.safe_load(file.read_text()) or {}).get("namespaces") or {}
    return {kind: named[kind] for kind in ("dev", "training", "serving", "platform")}


def _installed(kube: Kube, platform: str | None) -> list[str]:
    """The namespaces of the portal that is there, or of the one that is named; its own is the last."""
    where = ("--namespace", platform) if platform else ("--all-namespaces",)
    named = kube.items("configmaps", *where, "--selector", "app.kubernetes.io/name=dure")
    return namespaces_of(named, platform)


def namespaces_of(maps: Sequence[Mapping[str, Any]], platform: str | None = None) -> list[str]:
    """The same, by the settings of the portals that were found. Raises `Trouble` unless it is exactly one."""
    found = [one for one in maps if one["metadata"]["name"] == "dure-settings"]
    if not found:
        where = f"in the namespace {platform}" if platform else "on this cluster"
        raise Trouble(f"There is no portal {where}: `make deploy-minimal` installs one.")
    if len(found) > 1:
        names = ", ".join(sorted(one["metadata"]["namespace"] for one in found))
        raise Trouble(f"This cluster has several portals, in {names}: say which by PLATFORM=NAMESPACE.")
    data = found[0]["data"]
    people = [data[f"DURE_NAMESPACE_{kind}"] for kind in ("DEV", "TRAINING", "SERVING")]
    return [*people, found[0]["metadata"]["namespace"]]


def _make_namespace(kube: Kube, name: str) -> None:
    """The release's own: Helm keeps its records there, so it is there before the chart."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def _address(kube: Kube, namespace: str) -> str:
    said = kube.get("configmap", "dure-settings", "--namespace", namespace)["data"]["DURE_PUBLIC_URL"]
    return str(said) or "http://127.0.0.1:8000, once `make port-forward` runs"


def _password(kube: Kube, namespace: str) -> str:
    """How to see it; it goes into no log of ours."""
    path, secret = json.dumps("{.data.password}"), "dure-admin"
    for one in kube.items("statefulsets", "--namespace", namespace, "--field-selector=metadata.name=dure-portal"):
        secret = admin_secret(one["spec"]["template"]["spec"])
    return f"kubectl -n {namespace} get secret {secret} -o jsonpath={path} | base64 -d"


def admin_secret(pod: Mapping[str, Any]) -> str:
    """The Secret with the first administrator's password, which may be one that somebody else made."""
    return str(next(one["secret"]["secretName"] for one in pod["volumes"] if one["name"] == "admin"))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

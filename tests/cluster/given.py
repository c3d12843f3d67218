"""Somebody's own cluster, for the tests that need nothing of ours beside it: it is left as it was found.

Nobody's current context is used: `DURE_TEST_CONTEXT` names one. What is made there is in namespaces whose names
begin with a run's mark, or is a ClusterRole or its binding with that mark in its name; every other change is
refused here, before it is sent. A run removes what it has made, and what a killed one has left.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shlex
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import load_kube_config

from tests.cluster.archive import make_image
from tests.cluster.asking import ApiServer, may_be_used
from tests.cluster.builds import cache, path
from tests.cluster.control_plane import KWOK
from tests.cluster.layout import Layout
from tests.cluster.names import MARK, OURS, prefix
from tests.cluster.programs import until
from tools.kube import find, said_by

CONTEXT, KUBECONFIG = "DURE_TEST_CONTEXT", "DURE_TEST_KUBECONFIG"
LOAD, REGISTRY = "DURE_TEST_LOAD", "DURE_TEST_REGISTRY"
PROBE = f"{os.environ.get(REGISTRY) or 'localhost'}/probe:1"
PULL = "IfNotPresent" if os.environ.get(REGISTRY) else "Never"
"""The probe's image for tests' pods, and whether their nodes fetch it."""
WIDE = tuple(f"/apis/rbac.authorization.k8s.io/v1/{kind}" for kind in ("clusterrolebindings", "clusterroles"))
NAMESPACES = "/api/v1/namespaces"
MARKED = re.compile(rf"\b{OURS}-([0-9a-f]{{6}})-")
ASKING = re.compile(r"/apis/(authorization|authentication)\.k8s\.io/v1/[a-z]+reviews")
"""Questions that are put as objects; nothing of them is kept."""
LEFT = timedelta(hours=6)
"""After this long what another machine's run has made was left behind."""
GOING_S = 180.0


class NotOurs(Exception):
    """A test was about to change what is not its own. This is a mistake in the test."""


def context() -> str | None:
    """The context whose cluster tests are to use; None for one of their own."""
    return os.environ.get(CONTEXT) or None


def why_no_node() -> str:
    """Why no pod of ours can run there; empty where one can."""
    if os.environ.get(LOAD) or os.environ.get(REGISTRY):
        return ""
    return f"Its pods need images: {LOAD} or {REGISTRY} says how they come to the nodes (docs/test-cluster.md)."


class Given(ApiServer):
    """The cluster of a context. Only what is ours can be changed by `api`."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        settings = Configuration()
        asyncio.run(load_kube_config(config_file=str(kubeconfig), client_configuration=settings))
        token = settings.api_key.get("BearerToken")
        api = httpx.Client(
            base_url=str(settings.host),
            verify=_tls(settings),
            headers={"Authorization": token} if token else {},
            timeout=60,
            event_hooks={"request": [refuse_others]},
        )
        super().__init__(api, kubeconfig, name)
        self.swept: list[str] = []
        """Marks of killed runs whose things were removed before this one began."""

    def node(self) -> str:
        """A node that takes pods. The test is skipped where there is none for images of this machine."""
        for one in self.get("/api/v1/nodes")["items"]:
            runs = KWOK not in one["metadata"].get("annotations", {})
            if runs and may_be_used(one) and one["status"]["nodeInfo"]["architecture"] == "amd64":
                return str(one["metadata"]["name"])
        pytest.skip(f"The cluster of {self.context} has no ready node for linux/amd64 that takes any pod.")

    def remove(self, mark: str) -> None:
        """Remove all that the run of this mark has made; returns once it is gone."""
        for kind in WIDE:
            for name in self._of(kind, mark):
                self.api.delete(f"{kind}/{name}", extensions={"mark": mark})
        until(lambda: not self._end_namespaces(mark), f"the namespaces {prefix(mark)}… to be gone", GOING_S)

    def _end_namespaces(self, mark: str) -> list[str]:
        """Those that are there yet, each told to go. A pod whose record the portal had to write keeps none."""
        names = self._of(NAMESPACES, mark)
        for name in names:
            pods = f"{NAMESPACES}/{name}/pods"
            for pod in self.get(pods)["items"]:
                if pod["metadata"].get("finalizers"):
                    self.api.patch(
                        f"{pods}/{pod['metadata']['name']}",
                        json={"metadata": {"finalizers": None}},
                        headers={"Content-Type": "application/merge-patch+json"},
                        extensions={"mark": mark},
                    )
            self.api.delete(f"{NAMESPACES}/{name}", extensions={"mark": mark})
        return names

    def _of(self, kind: str, mark: str) -> list[str]:
        return [name for name, whose, _ in self._made(kind) if whose == mark]

    def _made(self, kind: str) -> Iterator[tuple[str, str, datetime]]:
        """Of each object of a kind that such a run has made: its name, the run's mark, and since when it is."""
        for one in self.get(kind)["items"]:
            name = one["metadata"]["name"]
            if found := MARKED.search(name):
                yield name, found[1], datetime.fromisoformat(one["metadata"]["creationTimestamp"])

    def sweep(self) -> list[str]:
        """Remove what runs have left that were killed; their marks. What may be in use by one is left alone."""
        told = self.api.get("/version").raise_for_status().headers["Date"]
        now, ages = parsedate_to_datetime(told).astimezone(UTC), dict[str, timedelta]()
        for kind in (*WIDE, NAMESPACES):
            for _, mark, since in self._made(kind):
                ages[mark] = max(ages.get(mark, timedelta()), now - since)
        left = [mark for mark, age in ages.items() if is_over(mark, age)]
        for mark in left:
            self.remove(mark)
            (runs() / mark).unlink(missing_ok=True)
        return left


def _tls(settings: Configuration) -> ssl.SSLContext:
    if not settings.verify_ssl:  # as that context itself has it
        made = ssl.create_default_context()
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    else:
        made = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        made.load_cert_chain(settings.cert_file, settings.key_file)
    return made


def refuse_others(request: httpx.Request) -> None:
    """Raise `NotOurs` for what would change anything but this run's own things (or a dead one's, by its mark)."""
    path, ours = request.url.path, prefix(request.extensions.get("mark", MARK))
    if request.method == "GET" or request.url.params.get("dryRun") == "All" or ASKING.fullmatch(path):
        return
    inside = re.search(r"/namespaces/([^/]+)", path)
    name = inside[1] if inside else _name_of(request)
    within = bool(inside) or path == NAMESPACES
    if not (name.startswith(ours) if within else path.startswith(WIDE) and ours in name):
        raise NotOurs(f"{request.method} {path} ({name}) is not of this run, {ours}")


def _name_of(request: httpx.Request) -> str:
    """Of the object that is made, or of the one that the path names."""
    if request.method == "POST":
        body: Mapping[str, Any] = httpx.Response(200, content=request.content).json()
        return str(body["metadata"]["name"])
    return request.url.path.rpartition("/")[2]


def runs() -> Path:
    """Where this machine's runs have their locks."""
    return cache() / "runs"


def is_over(mark: str, age: timedelta) -> bool:
    """Whether a run of this age is known to have ended, here by its lock, elsewhere by its age."""
    try:
        with (runs() / mark).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return age > LEFT
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked() -> Iterator[None]:
    """This run is known to be going on, to others on this machine, for as long as its process lives."""
    runs().mkdir(parents=True, exist_ok=True)
    file = runs() / MARK
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        file.unlink()  # after all is gone; where it is not, the next run finds it


def minified(name: str, folder: Path) -> Path:
    """A kubeconfig of this context alone, in this folder. Raises `tools.kube.Trouble` where there is none."""
    words = [find("kubectl"), "config", "view", "--raw", "--minify", "--flatten", f"--context={name}"]
    if file := os.environ.get(KUBECONFIG):
        words.append(f"--kubeconfig={file}")
    made = folder / "kubeconfig"
    made.touch(mode=0o600)
    made.write_text(said_by(words, ""))
    return made


def loaded(node: str) -> GivenNode:
    """This node, with the image of the probe."""
    made = GivenNode(node)
    if not os.environ.get(REGISTRY):
        with tempfile.TemporaryDirectory() as folder:
            tar = Path(folder) / "probe.tar"
            make_image(path("probe"), PROBE, tar)
            made.load(tar)
    return made


def check() -> None:
    """Raise `tools.kube.Trouble` where there is no such context."""
    with tempfile.TemporaryDirectory(prefix=f"{OURS}-") as folder:
        minified(context() or "", Path(folder))


@contextmanager
def reached() -> Iterator[Given]:
    """The cluster, swept; afterwards nothing of this run is on it, whatever failed."""
    name = context()
    assert name is not None
    with tempfile.TemporaryDirectory(prefix=f"{OURS}-") as folder, locked():
        made = Given(minified(name, Path(folder)), name)
        made.swept = made.sweep()
        try:
            yield made
        finally:
            made.remove(MARK)
            made.api.close()


class GivenNode:
    """A node of somebody's cluster, onto which images come by the command that they name."""

    def __init__(self, name: str) -> None:
        self.name, self._loaded, self._built = name, set[Path](), set[str]()

    def load(self, image: Path) -> None:
        """Take an image from a tar."""
        if os.environ.get(REGISTRY) or image in self._loaded:
            return
        words = [word.replace("{}", str(image)) for word in shlex.split(os.environ[LOAD])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self._loaded.add(image)

    def load_built(self, layout: Layout, ref: str, called: str) -> None:
        """Take an image that was built, once and whole: nobody knows what their nodes have."""
        if os.environ.get(REGISTRY) or ref in self._built:
            return
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / f"{ref}.tar"
            with archive.open("wb") as file:
                layout.write(ref, called, file)
            self.load(archive)
        self._built.add(ref)

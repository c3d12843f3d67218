"""Our own images for the test cluster, where no registry can be reached: built once, kept by what they are of."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.builds import cache
from tests.cluster.given import REGISTRY, GivenNode
from tests.cluster.layout import Layout
from tests.cluster.node import Node
from tools import image_base
from tools import images as tool

USUAL = ("singleuser-cpu", "portal", "envoy", "hub", "mlflow", "train", "serve", "quality-gate")
"""All but singleuser-code, which takes minutes to compile, and singleuser-cuda, which is 7 GB."""
ASKED = "DURE_TEST_IMAGES"
"""Names what is built and tested instead, with commas."""
NO_TORCH = ("--build-arg", "TORCH=none")
"""How those on torch are built where nobody asks for them by name: torch is 5 GB and ten minutes."""
SOURCES = (
    *("LICENSE", "README.md", "pyproject.toml", "requirements.lock"),
    *("extensions", "hub", "images/files", "notebooks", "tools"),
)
"""All that an image of ours is made of, besides its Containerfiles, and with what."""
NEEDED = ("buildah", "debootstrap", "unshare")
FAST = ("--compression-level", "1")
KEPT, UNUSED_S = 2, 24 * 3600.0
"""How many of an image stay, as different sources make it, and how long one does that nobody uses."""


def asked() -> Sequence[str]:
    """Which images tests are to see."""
    return tuple(filter(None, os.environ.get(ASKED, "").split(","))) or USUAL


def why_not() -> str:
    """Why there can be none here; empty where there can."""
    if os.environ.get(REGISTRY):  # where they are already
        return ""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return f"Images are built with {', '.join(missing)}." if missing else ""


def without_torch(name: str) -> bool:
    """Whether torch, which this image is for, has to come to it by a volume."""
    return not os.environ.get(ASKED) and "torch" in tool.in_order([name])


@contextmanager
def locked() -> Iterator[None]:
    """Nobody else builds, nor changes what was built."""
    place().mkdir(parents=True, exist_ok=True)
    with (place() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(names: Sequence[str] = ()) -> None:
    """See that they are there. Needs a way out, which the cluster's namespaces do not have."""
    if all(is_there(name) for name in names or asked()):  # then nobody waits for another checkout's build
        return
    with locked():
        missing = {name: ref(name) for name in names or asked() if not is_there(name)}
        if missing:
            print(f"Building images: {', '.join(missing)}; some six minutes the first time.", flush=True)
            _build(missing)
            _tidy(missing)


def _build(missing: Mapping[str, str]) -> None:
    words = [*missing, "--base", "debootstrap", *(() if os.environ.get(ASKED) else NO_TORCH)]
    with tempfile.TemporaryDirectory(dir=place()) as made:
        run_apart(["tools.images", *words], made)
        for name, ref in missing.items():
            target = f"oci:{layout().folder}:{ref}"
            _run_apart(["buildah", "push", "--quiet", *FAST, tool.tagged(name), target], made)
            layout().add(ref)
        # layers that no image has any more; those of other checkouts are not a day old
        old = ["--filter", "dangling=true", "--filter", "until=24h"]
        if listed := _run_apart(["buildah", "images", "--quiet", *old], made, stdout=subprocess.PIPE):
            _run_apart(["buildah", "rmi", *listed.split()], made)


def run_apart(module: Sequence[str], made: str) -> None:
    """Run a module that builds, with these words; what buildah mounts for its layers ends with it, in `made`."""
    _run_apart([sys.executable, "-m", *module], made)


def _run_apart(words: Sequence[str], made: str, stdout: int | None = None) -> str:
    apart = ["unshare", "--mount", "--propagation", "private", "--"]
    said = Path(made) / "log"
    with said.open("w") as log:
        done = subprocess.run(
            [*apart, *words],
            cwd=tool.ROOT,
            env=environment(made),
            stdout=stdout,
            stderr=log,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(said.read_text()[-3000:])
    return done.stdout or ""


def place() -> Path:
    """Where images and layers are."""
    return cache() / "images"


def layout() -> Layout:
    """What was built."""
    return Layout(place() / "layout")


def ref(name: str) -> str:
    """That of the image that these sources make."""
    return f"{name}-{_digest(name)}"


def is_there(name: str) -> bool:
    """Whether it was built of these sources."""
    return layout().note(ref(name)).exists()


def put(name: str, node: Node | GivenNode) -> str:
    """What this image is called, once this node has it or knows where to fetch it."""
    if registry := os.environ.get(REGISTRY):
        return f"{registry}/{name}:{tool.version()}"
    os.utime(layout().note(ref(name)))  # it is kept for a day from now on
    node.load_built(layout(), ref(name), tool.tagged(name))
    return tool.tagged(name)


def _digest(name: str) -> str:
    """Of all that goes into it."""
    digest = hashlib.sha256(f"{image_base.NAME} {without_torch(name)}".encode())
    for file in (*_sources(), *(tool.file_of(one) for one in tool.in_order([name]))):
        digest.update(str(file.relative_to(tool.ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _sources() -> Iterator[Path]:
    for source in (tool.ROOT / name for name in SOURCES):
        found = sorted(source.rglob("*")) if source.is_dir() else [source]
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def _tidy(names: Iterable[str]) -> None:
    """Remove what newer sources have made useless."""
    for name in names:
        for number, note in enumerate(layout().notes(name)):
            if number >= KEPT or _is_old(note):
                note.unlink()
        for tar in place().glob(f"{name}-*.tar"):  # as checkouts before this one keep them
            if _is_old(tar):
                tar.unlink()
    layout().tidy()


def _is_old(file: Path) -> bool:
    return time.time() - file.stat().st_mtime > UNUSED_S


def environment(run: str) -> dict[str, str]:
    """Of a buildah whose layers are the tests', not the machine's. What it knows of its mounts ends with `run`."""
    storage = Path(run) / "storage.conf"
    places = f'graphroot = "{place()}/storage"\nrunroot = "{run}/running"'
    storage.write_text(f'[storage]\ndriver = "overlay"\n{places}\n')
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "PATH": _path()}


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

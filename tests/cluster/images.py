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
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster.builds import cache
from tests.cluster.given import REGISTRY, GivenNode
from tests.cluster.node import Node
from tools import image_base
from tools import images as tool

USUAL = ("singleuser-cpu", "portal", "envoy")
"""Without torch: those with it take 7 GB each, and minutes."""
ASKED = "DURE_TEST_IMAGES"
"""Names what is built and tested instead, with commas."""
SOURCES = (
    *("LICENSE", "README.md", "pyproject.toml", "requirements.lock"),
    *("extensions", "hub", "images/files", "notebooks", "tools"),
)
"""All that an image of ours is made of, besides its Containerfiles, and with what."""
NEEDED = ("buildah", "debootstrap", "unshare")
KEPT, UNUSED_S = 2, 24 * 3600.0
"""How many tars of an image stay, and how long one does that nobody loads."""


def asked() -> Sequence[str]:
    """Which images tests are to see."""
    return tuple(filter(None, os.environ.get(ASKED, "").split(","))) or USUAL


def why_not() -> str:
    """Why there can be none here; empty where there can."""
    if os.environ.get(REGISTRY):  # where they are already
        return ""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return f"Images are built with {', '.join(missing)}." if missing else ""


def build(names: Sequence[str] = ()) -> None:
    """See that their tars are there. Needs a way out, which the cluster's namespaces do not have."""
    place().mkdir(parents=True, exist_ok=True)
    with (place() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in names or asked() if not tar(name).exists()]
        if missing:
            print(f"Building images: {', '.join(missing)}; some five minutes the first time.", flush=True)
            _build(missing)
        for name in missing:
            _tidy(name)


def _build(missing: Sequence[str]) -> None:
    # what buildah mounts for its layers goes with a namespace of its own
    apart = ["unshare", "--mount", "--propagation", "private", "--", sys.executable]
    with tempfile.TemporaryDirectory(dir=place()) as made, (place() / "log").open("w") as log:
        words = ["-m", "tools.images", *missing, "--base", "debootstrap", "--save", made]
        done = subprocess.run([*apart, *words], cwd=tool.ROOT, env=_environment(made), stderr=log, check=False)
        if done.returncode:
            raise SystemExit((place() / "log").read_text()[-3000:])
        for name in missing:
            (Path(made) / f"{name}.tar").replace(tar(name))  # whole or not at all


def place() -> Path:
    """Where tars and layers are."""
    return cache() / "images"


def tar(name: str) -> Path:
    """Where the image that these sources make is, or will be."""
    return place() / f"{name}-{_digest(name)}.tar"


def use(name: str) -> tuple[str, Path]:
    """What this image is called, and its tar, which is kept for a day from now on."""
    file = tar(name)
    os.utime(file)
    return tool.tagged(name), file


def put(name: str, node: Node | GivenNode) -> str:
    """What this image is called, once this node has it or knows where to fetch it."""
    if registry := os.environ.get(REGISTRY):
        return f"{registry}/{name}:{tool.version()}"
    called, file = use(name)
    node.load(file)
    return called


def _digest(name: str) -> str:
    """Of all that goes into it."""
    digest = hashlib.sha256(image_base.NAME.encode())
    for file in (*_sources(), *(tool.file_of(one) for one in tool.in_order([name]))):
        digest.update(str(file.relative_to(tool.ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _sources() -> Iterator[Path]:
    for source in (tool.ROOT / name for name in SOURCES):
        found = sorted(source.rglob("*")) if source.is_dir() else [source]
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def _tidy(name: str) -> None:
    """Remove tars that newer sources have made useless."""
    tars = sorted(place().glob(f"{name}-{'?' * 12}.tar"), key=lambda file: file.stat().st_mtime, reverse=True)
    for number, file in enumerate(tars):
        if number >= KEPT or time.time() - file.stat().st_mtime > UNUSED_S:
            file.unlink()


def _environment(run: str) -> dict[str, str]:
    """Tests' layers are not the machine's. What buildah knows of its mounts ends with them, in `run`."""
    storage = Path(run) / "storage.conf"
    places = f'graphroot = "{place()}/storage"\nrunroot = "{run}/running"'
    storage.write_text(f'[storage]\ndriver = "overlay"\n{places}\n')
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "PATH": _path()}


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

"""PostgreSQL for the chart, as an image of Debian's packages: the one that it names lies at a registry.

`python -m tests.cluster.database FILE` writes its tar, with a way out and mounts that go with the caller's.
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tempfile
from pathlib import Path

from tests.cluster import images
from tests.cluster.node import Node
from tools import image_base
from tools.image_builder import find_builder

FOLDER = Path(__file__).parent / "postgresql"
NAME = "localhost/dure-test/postgresql:15"
"""As old as the clients in the image `portal`."""


def tar() -> Path:
    """Where it is, or will be."""
    digest = hashlib.sha256(image_base.NAME.encode())
    for file in sorted(FOLDER.iterdir()):
        digest.update(file.read_bytes())
    return images.place() / f"postgresql-{digest.hexdigest()[:12]}.tar"


def build() -> None:
    """See that its tar is there; half a minute the first time."""
    images.place().mkdir(parents=True, exist_ok=True)
    with (images.place() / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tar().exists():
            with tempfile.TemporaryDirectory(dir=images.place()) as made:
                file = Path(made) / "whole.tar"
                images.run_apart([__name__, str(file)], made)
                file.replace(tar())


def put(node: Node) -> str:
    """What it is called, once this node has it."""
    node.load(tar())
    return NAME


def make(file: Path) -> None:
    """Build it, and write it there."""
    builder = find_builder()
    words = ["-t", NAME, f"--build-arg=BASE={image_base.ensure(builder)}"]
    builder.build(FOLDER / "Containerfile", words, FOLDER)
    builder.save(NAME, file)


if __name__ == "__main__":
    make(Path(sys.argv[1]))

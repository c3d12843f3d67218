"""A base image made of Debian's own packages, for where no registry can be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.image_builder import Builder, Unbuildable

USUAL = "docker.io/library/python:3.12-slim-bookworm"
NAME = "localhost/dure-base/bookworm:2"
"""What it is called; the number grows with what is in it."""
INCLUDED = ("ca-certificates", "python3", "python3-venv")
USELESS = (
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
    *("var/cache/apt", "var/lib/apt/lists"),
)
"""What no container needs, of a third of the size."""


def ensure(builder: Builder) -> str:
    """The name of the base, which is made if it is not there yet: a minute and a half, as root, by debootstrap.

    Raises `Unbuildable`.
    """
    if not builder.has(NAME):
        with tempfile.TemporaryDirectory() as folder:
            _make(builder, Path(folder))
    return NAME


def _make(builder: Builder, folder: Path) -> None:
    root, context = folder / "root", folder / "context"
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", "bookworm", str(root)]
    # what it mounts is gone with a namespace of its own, however it ends
    apart = ["unshare", "--mount", "--propagation", "private", "--"]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    _run([*apart, *words], {**os.environ, "PATH": path})
    for useless in USELESS:
        shutil.rmtree(root / useless)
        (root / useless).mkdir()
    for own in ("etc/hostname", "etc/resolv.conf"):  # this machine's
        (root / own).unlink(missing_ok=True)
    context.mkdir()
    _run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(context / "root.tar"), "."], os.environ)
    file = folder / "Containerfile"
    file.write_text("FROM scratch\nADD root.tar /\n")
    builder.build(file, ["-t", NAME], context)


def _run(words: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(words, env=environment, stdout=sys.stderr, check=False)
    except FileNotFoundError as missing:
        raise Unbuildable(f"Making a base needs {missing.filename}: install it, or name a base.") from missing
    if done.returncode:
        raise Unbuildable(f"{words[0]} failed; its own words are above.")

"""A base image made of Debian's own packages, for where no registry can be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

USUAL = "docker.io/library/python:3.12-slim-bookworm"
NAME = "localhost/dure-base/bookworm:2"
"""What it is called; the number grows with what is in it."""
INCLUDED = ("ca-certificates", "python3", "python3-venv")
MIRROR = "http://deb.debian.org/debian"
USELESS = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
"""What no container needs, of a third of the size."""


def ensure(builder: str) -> str:
    """The name of the base, which is made where it is not there yet: a minute and a half. Needs root and debootstrap."""
    known = subprocess.run([builder, "inspect", "--type", "image", NAME], capture_output=True, check=False)
    if known.returncode:
        with tempfile.TemporaryDirectory() as folder:
            _make(builder, Path(folder))
    return NAME


def _make(builder: str, folder: Path) -> None:
    root = folder / "root"
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", "bookworm", str(root), MIRROR]
    # in a mount namespace of its own, with which what it mounts is gone, however it ends
    apart = ["unshare", "--mount", "--propagation", "private", "--"]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    subprocess.run([*apart, *words], check=True, env={**os.environ, "PATH": path})
    for useless in USELESS:
        shutil.rmtree(root / useless)
        (root / useless).mkdir()
    (root / "etc" / "resolv.conf").unlink(missing_ok=True)
    (root / "etc" / "hostname").unlink(missing_ok=True)
    archive = folder / "root.tar"
    subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), "."], check=True)
    (folder / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
    apart = ["--isolation", "chroot"] if builder == "buildah" else []
    subprocess.run([builder, "build", *apart, "-t", NAME, str(folder)], check=True)

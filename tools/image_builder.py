"""The programs that build images: Buildah, else Podman or Docker, whichever is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("buildah", "podman", "docker")


class Unbuildable(Exception):
    """Why an image cannot be built here, or was not, with what to do."""


@dataclass(frozen=True)
class Builder:
    """A program that builds images, one of `PROGRAMS`. All of it raises `Unbuildable`."""

    program: str

    def build(self, file: Path, words: Sequence[str], context: Path) -> None:
        """Build what this file says; what is said meanwhile goes to our standard error."""
        apart = ["--isolation", "chroot", "--layers"] if self.program == "buildah" else []
        self.run("build", *apart, "--network", "host", "-f", str(file), *words, str(context))

    def has(self, image: str) -> bool:
        """Whether it is there already."""
        typed = [] if self.program == "docker" else ["--type", "image"]
        words = [self.program, *(["image"] if self.program == "docker" else []), "inspect", *typed, image]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def id_of(self, image: str) -> str:
        """What tells this image from all others: the digest of its configuration, and so of its layers."""
        if self.program == "buildah":
            return self.said("inspect", "--type", "image", "--format", "{{.FromImageID}}", image)
        return self.said("image", "inspect", "--format", "{{.Id}}", image).removeprefix("sha256:")

    def size(self, image: str) -> str:
        """How much of a disk it takes with all under it, in the builder's words."""
        return self.said("images", "--format", "{{.Size}}", image)

    def push(self, image: str, target: str) -> str:
        """Publish it; the digest by which the registry knows it."""
        if self.program == "docker":
            self.run("tag", image, target)
            self.run("push", target)
            known = self.said("image", "inspect", "--format", '{{join .RepoDigests " "}}', target)
            return digest_in(known, target)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            self.run("push", "--digestfile", str(file), image, f"docker://{target}")
            return file.read_text().strip()

    def save(self, image: str, file: Path) -> None:
        """Write it to a tar that container engines load."""
        file.unlink(missing_ok=True)
        if self.program == "buildah":
            self.run("push", "--quiet", image, f"docker-archive:{file}:{image}")
        else:
            self.run("save", "--output", str(file), image)

    def run(self, *words: str) -> None:
        """Run it, with what it says on our standard error."""
        if subprocess.run([self.program, *words], stdout=sys.stderr, check=False).returncode:
            raise Unbuildable(f"{self.program} {words[0]} failed; its own words are above.")

    def said(self, *words: str) -> str:
        """The first line of what it says."""
        done = subprocess.run([self.program, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unbuildable(f"{self.program} {words[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip().partition("\n")[0]


def digest_in(known: str, target: str) -> str:
    """That of this target, of all that an image is known by: each repository has its own. Raises `Unbuildable`."""
    repository = target.rpartition(":")[0]
    for name, _, digest in (word.partition("@") for word in known.split()):
        if name == repository:
            return digest
    raise Unbuildable(f"Docker names no digest of {target} after its push, but: {known or 'none'}.")


def find_builder() -> Builder:
    """The first that is here and works. Raises `Unbuildable`."""
    for program in PROGRAMS:
        if shutil.which(program) and _works(program):
            return Builder(program)
    raise Unbuildable("Nothing here builds images. Install one:  sudo apt-get install -y buildah")


def _works(program: str) -> bool:
    """Docker's own command may be there without what does its work."""
    if program != "docker":
        return True
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0

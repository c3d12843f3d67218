"""Builds Dure's images from images/*.Containerfile: `python -m tools.images [NAME …]`, or `make images`.

Buildah does it, else Podman or Docker, whichever is there. What is built on what is read from the files: each names
the image under it as its PARENT, and those that nobody runs are stages. docs/images.md says what each is for.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import image_base

ROOT = Path(__file__).parents[1]
FILES = ROOT / "images"
LOCAL = "localhost/dure"
"""Before the name of an image that was built and is not published."""
STAGES = ("python", "lab", "torch")
"""What others are built on, and nobody runs or publishes."""
BUILDERS = ("buildah", "podman", "docker")


class Unbuildable(Exception):
    """Why an image cannot be built here, or was not, with what to do."""


@dataclass(frozen=True)
class Builder:
    """A program that builds images. `program` is one of `BUILDERS`."""

    program: str

    def build(self, name: str, words: Sequence[str], context: Path) -> None:
        """Build `images/NAME.Containerfile`."""
        apart = ["--isolation", "chroot", "--layers"] if self.program == "buildah" else []
        file = str(FILES / f"{name}.Containerfile")
        self.run("build", *apart, "--network", "host", "-f", file, *words, str(context))

    def digest(self, image: str) -> str:
        """What tells this image from all others, here: of its configuration, and so of its layers."""
        if self.program == "buildah":
            return self.said("inspect", "--type", "image", "--format", "{{.FromImageID}}", image)
        return self.said("image", "inspect", "--format", "{{.Id}}", image)

    def size_mb(self, image: str) -> str:
        """How much of a disk it takes with all under it, as the builder says it."""
        if self.program == "buildah":
            return self.said("images", "--format", "{{.Size}}", image)
        return self.said("image", "ls", "--format", "{{.Size}}", image)

    def push(self, image: str, target: str) -> str:
        """Publish it; the digest by which the registry knows it."""
        if self.program == "docker":
            self.run("tag", image, target)
            self.run("push", target)
            return self.said("image", "inspect", "--format", "{{index .RepoDigests 0}}", target).rpartition("@")[2]
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder) / "digest"
            self.run("push", "--digestfile", str(said), image, f"docker://{target}")
            return said.read_text().strip()

    def save(self, image: str, file: Path) -> None:
        """Write it to a tar that container engines load."""
        file.unlink(missing_ok=True)
        if self.program == "buildah":
            self.run("push", "--quiet", image, f"docker-archive:{file}:{image}")
        else:
            self.run("save", "--output", str(file), image)

    def run(self, *words: str) -> None:
        """Run it, with what it says on our standard error. Raises `Unbuildable`."""
        if subprocess.run([self.program, *words], stdout=sys.stderr, check=False).returncode:
            raise Unbuildable(f"{self.program} {words[0]} failed; its own words are above.")

    def said(self, *words: str) -> str:
        """The first line of what it says."""
        done = subprocess.run([self.program, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unbuildable(f"{self.program} {words[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip().splitlines()[0]


def find_builder() -> Builder:
    """The first that is here. Raises `Unbuildable`."""
    for program in BUILDERS:
        if shutil.which(program):
            return Builder(program)
    raise Unbuildable("Nothing here builds images. Install one:  sudo apt-get install -y buildah")


def parent(name: str) -> str | None:
    """The image of ours under this one; None where that is the base itself."""
    found = re.search(rf"^ARG PARENT={LOCAL}/(\S+)$", (FILES / f"{name}.Containerfile").read_text(), re.MULTILINE)
    return found[1] if found else None


def images() -> list[str]:
    """The names of all that are run."""
    return sorted({file.name.partition(".")[0] for file in FILES.glob("*.Containerfile")} - set(STAGES))


def in_order(names: Sequence[str]) -> list[str]:
    """These and all under them, each after what it is built on. Raises `Unbuildable` for one that is not ours."""
    ordered: list[str] = []
    for name in names:
        if name not in (*images(), *STAGES):
            raise Unbuildable(f"There is no image named {name}. There are: {', '.join(images())}.")
        under = parent(name)
        ordered += [one for one in (*(in_order([under]) if under else ()), name) if one not in ordered]
    return ordered


def requirements() -> Mapping[str, Sequence[str]]:
    """What each part of the project needs, by pyproject.toml: `core`, and the optional ones by their names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"core": project["dependencies"], **project["optional-dependencies"]}


def version() -> str:
    """That of the project: the tag of its images."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def fill(context: Path) -> None:
    """Put into this folder all that the Containerfiles copy. Nothing else of the checkout can come into an image."""
    shutil.copy(ROOT / "LICENSE", context)
    shutil.copy(ROOT / "requirements.lock", context)
    (context / "requirements").mkdir()
    for part, lines in requirements().items():
        (context / "requirements" / f"{part}.txt").write_text("".join(f"{line}\n" for line in lines))
    shutil.copytree(FILES / "files", context / "files")
    words = ["sh", "tools/uv.sh", str(Path(sys.executable).parents[1]), "build", "--quiet", "--wheel"]
    # the same sources make the same wheel, and with it the same layer
    fixed = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    subprocess.run([*words, "--out-dir", str(context / "wheels"), "."], cwd=ROOT, env=fixed, check=True)
    (context / "wheels" / ".gitignore").unlink(missing_ok=True)


def secrets(folder: Path) -> list[str]:
    """How this machine's pip gets its packages, as secrets of the build: no address of an index is in a layer."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    # sorted, so what is for `install` comes last, and what the environment says wins
    said = dict(re.findall(r"^(?:global|install)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    said |= dict(re.findall(r"^:env:\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    given = {key: said[key] for key in ("index-url", "extra-index-url", "trusted-host", "timeout") if key in said}
    words = []
    if authority := said.get("cert"):
        given["cert"] = "/run/secrets/ca"
        words = [f"--secret=id=ca,src={authority}"]
    file = folder / "pip.conf"
    file.touch(0o600)
    file.write_text("".join(["[global]\n", *(f"{key} = {value}\n" for key, value in given.items())]))
    return [f"--secret=id=pip,src={file}", *words]


def build(names: Sequence[str], base: str, arguments: Sequence[str], builder: Builder) -> Iterator[tuple[str, float]]:
    """Build these and what is under them; yields each with its seconds. Raises `Unbuildable`."""
    with tempfile.TemporaryDirectory() as made:
        context, hidden = Path(made) / "context", Path(made) / "secrets"
        context.mkdir()
        hidden.mkdir(mode=0o700)
        fill(context)
        common = [*secrets(hidden), *(f"--build-arg={one}" for one in arguments)]
        for name in in_order(names):
            started = time.monotonic()
            under = parent(name)
            on = f"PARENT={tagged(under)}" if under else f"BASE={base}"
            # a stage without labels is the same one for the next version
            labels = [] if name in STAGES else [f"--label=org.opencontainers.image.{one}" for one in about(name)]
            builder.build(name, ["-t", tagged(name), f"--build-arg={on}", *common, *labels], context)
            yield name, time.monotonic() - started


def tagged(name: str) -> str:
    """What it is called here."""
    return f"{LOCAL}/{name}:{version()}"


def about(name: str) -> Iterator[str]:
    """Its labels that change with each version."""
    yield f"title=dure/{name}"
    yield f"version={version()}"
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        yield f"revision={done.stdout.strip()}"


def values(prefix: str, digests: Mapping[str, str]) -> str:
    """What the chart needs to know of images that were published, as YAML."""
    lines = ["images:", f"  prefix: {prefix}", f'  tag: "{version()}"', "  digests:"]
    return "\n".join([*lines, *(f"    {name}: {digest}" for name, digest in sorted(digests.items())), ""])


def main(words: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=__doc__)
    parser.add_argument("names", nargs="*", help="which; all without any")
    parser.add_argument("--base", default="", help="a Debian with Python; 'debootstrap' makes one")
    parser.add_argument("--push", default="", metavar="PREFIX", help="publish as PREFIX/NAME:VERSION")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write each to FOLDER/NAME.tar")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args(words)
    try:
        make(asked)
    except Unbuildable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make(asked: argparse.Namespace) -> None:
    """Build, save, publish, as asked."""
    builder = find_builder()
    base = image_base.ensure(builder.program) if asked.base == "debootstrap" else asked.base or image_base.USUAL
    digests = {}
    for name, seconds in build(asked.names or images(), base, asked.build_arg, builder):
        print(f"{tagged(name)}  {builder.digest(tagged(name))[-64:][:12]}  {builder.size_mb(tagged(name))}  {seconds:.0f} s")
        if name in STAGES:
            continue
        if asked.save:
            asked.save.mkdir(parents=True, exist_ok=True)
            builder.save(tagged(name), asked.save / f"{name}.tar")
        if asked.push:
            digests[name] = builder.push(tagged(name), f"{asked.push.rstrip('/')}/{name}:{version()}")
    if digests:
        file = ROOT / "build" / "images.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(values(asked.push.rstrip("/"), digests))
        print(f"For the chart:  --values {file.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

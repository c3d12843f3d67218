"""Builds Dure's images from images/*.Containerfile: `python -m tools.images [NAME …]`, or `make images`.

What is built on what stands in the files: each names the image under it as its PARENT, and those that nobody runs
are stages. docs/images.md says what each is for.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools import image_base
from tools.image_builder import Builder, Unbuildable, find_builder

ROOT = Path(__file__).parents[1]
FILES = ROOT / "images"
LOCAL = "localhost/dure"
"""Before the name of an image that was built and is not published."""
STAGES = {
    "python": ("python", None),
    "tracking": ("tracking", "python"),
    "lab": ("lab", "tracking"),
    "torch": ("torch", "tracking"),
    "lab-torch": ("lab", "torch"),
}
"""What others are built on, and nobody runs or publishes: from which file, and on which stage."""


def parent(name: str) -> str | None:
    """The image of ours under this one; None where that is the base itself."""
    if name in STAGES:
        return STAGES[name][1]
    found = re.search(rf"^ARG PARENT={LOCAL}/(\S+)$", file_of(name).read_text(), re.MULTILINE)
    return found[1] if found else None


def file_of(name: str) -> Path:
    """What says how it is built."""
    return FILES / f"{STAGES[name][0] if name in STAGES else name}.Containerfile"


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
    """Put into this folder all that the Containerfiles copy. Nothing else of the checkout comes into an image."""
    shutil.copy(ROOT / "LICENSE", context)
    shutil.copy(ROOT / "requirements.lock", context)
    (context / "requirements").mkdir()
    for part, lines in requirements().items():
        (context / "requirements" / f"{part}.txt").write_text("".join(f"{line}\n" for line in lines))
    shutil.copytree(FILES / "files", context / "files")
    words = ["sh", "tools/uv.sh", str(Path(sys.executable).parents[1]), "build", "--quiet", "--wheel"]
    subprocess.run([*words, "--out-dir", str(context / "wheels"), "."], cwd=ROOT, check=True)
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
    if (npm := Path.home() / ".npmrc").exists():
        words.append(f"--secret=id=npm,src={npm}")
    return [f"--secret=id=pip,src={file}", *words]


def build(
    names: Sequence[str], base: str, arguments: Sequence[str], builder: Builder
) -> Iterator[tuple[str, float]]:
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
            builder.build(file_of(name), ["-t", tagged(name), f"--build-arg={on}", *common, *labels], context)
            yield name, time.monotonic() - started


def tagged(name: str) -> str:
    """What it is called here."""
    return f"{LOCAL}/{name}:{version()}"


def about(name: str) -> Iterator[str]:
    """Its labels that change with each version."""
    yield f"title=dure/{name}"
    yield f"version={version()}"
    words = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
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
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def make(asked: argparse.Namespace) -> None:
    """Build, save, publish, as asked."""
    builder = find_builder()
    base = image_base.ensure(builder) if asked.base == "debootstrap" else asked.base or image_base.USUAL
    names = asked.names or images()
    for name, seconds in build(names, base, asked.build_arg, builder):
        image = tagged(name)
        say(f"{image}  {builder.id_of(image)[:12]}  {builder.size(image)}  {seconds:.0f} s")
        if asked.save and name not in STAGES:
            asked.save.mkdir(parents=True, exist_ok=True)
            builder.save(image, asked.save / f"{name}.tar")
    published = [name for name in names if name not in STAGES]
    if asked.push and published:
        file = ROOT / "build" / "images.yaml"
        publish(published, asked.push, builder, file)
        say(f"For the chart:  --values {file.relative_to(ROOT)}")


def publish(names: Sequence[str], prefix: str, builder: Builder, file: Path) -> None:
    """Publish these, which are built, as PREFIX/NAME:VERSION; `file` tells the chart. Raises `Unbuildable`."""
    prefix = prefix.rstrip("/")
    digests = {name: builder.push(tagged(name), f"{prefix}/{name}:{version()}") for name in names}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(values(prefix, digests))


def say(line: str) -> None:
    """At once, also into a file: what follows takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

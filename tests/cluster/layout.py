"""Images that were built, each of their layers kept once: a folder as the OCI image layout has it.

Buildah writes into it and skips the layers that are there (https://github.com/opencontainers/image-spec).
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

REF, NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"


@dataclass(frozen=True)
class Layout:
    """One such folder, in which each image has a `ref`. Whoever writes holds a lock; whoever reads needs none.

    Buildah's index is for Buildah; what is whole has a note of its own, whose age says when it was used last.
    """

    folder: Path

    def note(self, ref: str) -> Path:
        """The file that is there once the image is."""
        return self.folder / "images" / f"{ref}.json"

    def add(self, ref: str) -> None:
        """Note an image that Buildah has put here whole."""
        described = next(one for one in self._index() if one["annotations"][REF] == ref)
        self.note(ref).parent.mkdir(exist_ok=True)
        _replace(self.note(ref), described)

    def notes(self, name: str) -> list[Path]:
        """Of all images whose refs begin with this name and a dash, the last used first."""
        found = [one for one in self.note(name).parent.glob("*.json") if one.stem.rpartition("-")[0] == name]
        return sorted(found, key=lambda note: note.stat().st_mtime, reverse=True)

    def tidy(self) -> None:
        """Remove what images were made of whose notes are gone."""
        kept = [one for one in self._index() if self.note(one["annotations"][REF]).exists()]
        _replace(self.folder / "index.json", {"schemaVersion": 2, "manifests": kept})
        used = {digest for one in kept for digest in self._blobs(one)}
        for file in (self.folder / "blobs" / "sha256").iterdir():
            if f"sha256:{file.name}" not in used:
                file.unlink()

    def layers(self, ref: str) -> list[str]:
        """The digests of its layers, the lowest first."""
        return [str(one["digest"]) for one in self._manifest(self._described(ref))["layers"]]

    def config(self, ref: str) -> dict[str, Any]:
        """What an engine reads of it: user, command, labels, history."""
        digest = self._manifest(self._described(ref))["config"]["digest"]
        return dict(json.loads(self.file(digest).read_text()))

    def file(self, digest: str) -> Path:
        """Where this part of an image lies; a layer is a tar, compressed."""
        return self.folder / "blobs" / digest.replace(":", "/")

    def write(self, ref: str, called: str, out: BinaryIO, without: Collection[str] = ()) -> None:
        """Write an archive of this image, called so, which containerd and Docker load.

        `without` names layers that whoever reads it has: containerd alone lets them be left out.
        """
        described = {**self._described(ref), "annotations": {NAME: called}}
        config, layers = self._manifest(described)["config"]["digest"], self.layers(ref)
        paths = {digest: f"blobs/{digest.replace(':', '/')}" for digest in (config, *layers)}
        docker = {"Config": paths[config], "RepoTags": [called], "Layers": [paths[one] for one in layers]}
        notes = {
            "oci-layout": {"imageLayoutVersion": "1.0.0"},
            "index.json": {"schemaVersion": 2, "manifests": [described]},
            "manifest.json": [docker],
        }
        with tarfile.open(fileobj=out, mode="w|") as archive:
            for name, note in notes.items():
                content = json.dumps(note).encode()
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
            for digest in (described["digest"], config, *(one for one in layers if one not in without)):
                archive.add(self.file(digest), f"blobs/{digest.replace(':', '/')}")

    def _index(self) -> list[dict[str, Any]]:
        return list(json.loads((self.folder / "index.json").read_text())["manifests"])

    def _described(self, ref: str) -> dict[str, Any]:
        return dict(json.loads(self.note(ref).read_text()))

    def _manifest(self, described: Mapping[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self.file(described["digest"]).read_text()))

    def _blobs(self, described: Mapping[str, Any]) -> Iterator[str]:
        yield described["digest"]
        manifest = self._manifest(described)
        yield from (str(one["digest"]) for one in (manifest["config"], *manifest["layers"]))


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(file)

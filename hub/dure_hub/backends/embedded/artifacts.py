"""Artifacts in a folder of this machine: what `artifacts_url` names with file://."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dure_hub.backends.base import ArtifactBackend
from dure_hub.settings import Settings


class FolderArtifacts(ArtifactBackend):
    """One folder, made when the first file comes."""

    def __init__(self, settings: Settings) -> None:
        self._root = Path(unquote(urlsplit(settings.artifacts).path)).resolve()

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self._place(name).is_file()

    def keep(self, name: str, file: Path) -> None:
        """Move it in; from another file system by a copy, which gets its name when it is whole."""
        target = self._place(name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            file.replace(target)
        except OSError as why:
            if why.errno != errno.EXDEV:
                raise
            near = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")  # two may send the same at once
            try:
                shutil.copyfile(file, near)
                near.chmod(0o600)
                _sync(near)
                near.replace(target)
            finally:
                near.unlink(missing_ok=True)
        _sync(target.parent)  # the name must outlive a power cut, as the row that mentions it does

    def fetch(self, name: str) -> Path:
        """Where it lies."""
        place = self._place(name)
        if not place.is_file():
            raise FileNotFoundError(name)
        return place

    def free(self) -> int:
        """What the file system of the folder has left, or of the nearest that is there already."""
        there = next(path for path in (self._root, *self._root.parents) if path.exists())
        return shutil.disk_usage(there).free

    def _place(self, name: str) -> Path:
        place = (self._root / name).resolve()
        if not place.is_relative_to(self._root) or place == self._root:
            raise ValueError(f"{name} is no name of an artifact")
        return place


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

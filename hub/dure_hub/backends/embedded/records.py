"""A run folder and the records in it: what was asked for, what was started, how it ended.

`spec.json` is written before anything runs (with the server's API token, hence mode 600 in a folder of mode
700), `keeper.json` once the keeper is there, `started.json` and `exit.json` by the keeper, `stop.json` before a
stop is asked for. Each appears whole or not at all; one that a power cut left empty reads as missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dure_hub.isolation.removal import remove_tree

_LEASE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")


class RunFolder:
    """One run's folder. Making the object touches nothing."""

    def __init__(self, place: Path, lease: str) -> None:
        if not _LEASE.match(lease):
            raise ValueError(f"{lease!r} cannot name a run folder")
        self.lease = lease
        self.path = place / lease
        self.log = self.path / "log"

    def exists(self) -> bool:
        """Whether a start was recorded."""
        return self.path.is_dir()

    def read(self, name: str) -> dict[str, Any] | None:
        """The record `<name>.json`, or None."""
        try:
            record = json.loads((self.path / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write `<name>.json` at once; the folder must exist."""
        temporary = self.path / f"{name}.json.{os.urandom(4).hex()}"
        try:
            _private(temporary, json.dumps(record).encode())
            temporary.replace(self.path / f"{name}.json")
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def create(self, spec: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Make the folder with its first records in it, so that none is ever seen without them."""
        draft = self.path.with_name(f".{self.lease}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        draft.mkdir(mode=0o700)
        for name, content in {"spec.json": json.dumps(spec).encode(), **files}.items():
            _private(draft / name, content)
        draft.rename(self.path)

    def remove(self) -> None:
        """Drop it all. What is gone is fine."""
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.path)


def run_folders(place: Path) -> Iterator[RunFolder]:
    """Every recorded run in this place."""
    try:
        names = sorted(path.name for path in place.iterdir())
    except FileNotFoundError:
        return
    for name in names:
        if _LEASE.match(name):
            yield RunFolder(place, name)


def _private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)

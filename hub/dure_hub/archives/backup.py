"""Makes an archive of a portal that is up or down."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from dure_hub.archives import ARTIFACTS, DATA, DUMP, FORMAT, MANIFEST, SETTINGS, members, snapshot
from dure_hub.archives.errors import BackupFailed, BadPlace, FileThere, NoRoom
from dure_hub.archives.writing import Writer, writing
from dure_hub.settings import RESERVE, Settings
from dure_hub.supervisor import checks, revisions, swap

Say = Callable[..., None]
_MARGIN = 16 * 2**20


@dataclass(frozen=True)
class Made:
    """A backup that was made: its size in bytes, its manifest, what changed while it was read or could not be."""

    size: int
    manifest: dict[str, Any]
    changed: list[str]
    left_out: list[str]


def backup(settings: Settings, file: Path, homes: bool, say: Say) -> Made:
    """Write everything that this portal keeps into the new file `file`, of mode 600.

    Raises `FileThere`, `BadPlace`, `NoRoom` or `BackupFailed`; then there is no such file.
    """
    file = _place(settings, file)
    try:
        with swap.making(file.with_name(f".{file.name}.databases")) as copies:
            return _make(settings, file, copies, homes, say)
    except (OSError, sqlite3.Error, psycopg.Error) as why:
        raise BackupFailed(file=str(file), reason=getattr(why, "strerror", None) or str(why)) from why


def _make(settings: Settings, file: Path, copies: Path, homes: bool, say: Say) -> Made:
    skip, outside = members.skipped(homes), outside_artifacts(settings)
    trees = [(DATA, settings.folder.root, skip)] + ([(ARTIFACTS, outside, frozenset[str]())] if outside else [])
    sizes = [members.measure(root, but) for _, root, but in trees]
    files = [path for path in settings.folder.db.iterdir() if path.is_file() and path.name not in RESERVE]
    databases = sum(path.stat().st_size for path in files)
    total = sum(size for _, size in sizes) + databases
    enough_room(file.parent, total + databases)  # their copies lie there until they are in the file
    say("copying", size=-(-databases // 2**20))
    found, counts = snapshot.copy_databases(settings, copies)
    manifest = _manifest(settings, homes, found, counts, sum(count for count, _ in sizes), total)
    with writing(file, Progress(say, total)) as out:
        out.text(MANIFEST, manifest)
        for path in sorted(copies.iterdir()):
            if path.name == DUMP:
                out.file(DUMP, path)
            elif path.suffix == ".sqlite":
                out.file(f"{DATA}db/{path.name}", path)
        out.text(SETTINGS, json.loads(settings.model_dump_json()))
        for prefix, root, but in trees:
            _add_tree(out, prefix, root, but, file)
    return Made(file.stat().st_size, manifest, out.changed, out.left.names)


def _add_tree(out: Writer, prefix: str, root: Path, skip: frozenset[str], file: Path) -> None:
    for one in members.walk(root, skip, out.left):
        if root / one.name not in (file, file.with_name(f"{file.name}.partial")):
            out.member(prefix, one)


def outside_artifacts(settings: Settings) -> Path | None:
    """Where artifacts lie, if that is not in the data folder."""
    if not settings.artifacts_url:
        return None
    path = Path(unquote(urlsplit(settings.artifacts_url).path)).resolve()
    return None if path.is_relative_to(settings.folder.root) else path


def enough_room(place: Path, needed: int) -> None:
    """Raise `NoRoom` where `needed` bytes, and some more, are not free there."""
    free = shutil.disk_usage(place).free
    if free < needed + _MARGIN:
        raise NoRoom(place=str(place), needed_mb=-(-(needed + _MARGIN) // 2**20), free_mb=free // 2**20)


def _place(settings: Settings, file: Path) -> Path:
    file = file.expanduser().absolute()
    folder = file.parent.resolve() if file.parent.is_dir() else None
    if folder is None:
        raise BadPlace(place=str(file.parent), reason={"en": "there is no such folder", "ko": "폴더가 없습니다"})
    file = folder / file.name
    data = settings.folder
    if file.is_relative_to(data.root) and not file.is_relative_to(data.backup):
        why = {
            "en": "it would become a part of the next backup; in the data folder only backup/ is left out of it",
            "ko": "다음 백업에 포함됩니다. 데이터 폴더에서는 backup/만 백업에서 제외됩니다",
        }
        raise BadPlace(place=str(file), reason=why)
    if file.exists() or file.is_symlink():
        raise FileThere(file=str(file))
    return file


def _manifest(
    settings: Settings, homes: bool, found: dict[str, str | None], counts: dict[str, int], files: int, total: int
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "program": revisions.program_version(),
        "layout": checks.LAYOUT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": os.uname().nodename,
        "instance": settings.instance,
        "database": "postgresql" if settings.database_url else "sqlite",
        "revisions": found,
        "homes": homes,
        "counts": counts,
        "files": files,
        "bytes": total,
    }


class Progress:
    """Says how far it is: after two seconds, and then every two."""

    def __init__(self, say: Say, total: int) -> None:
        self._say, self._total, self._done = say, total, 0
        self._next = time.monotonic() + 2

    def __call__(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 2
            self._say("progress", done=self._done // 2**20, total=-(-self._total // 2**20))

"""Makes a data folder from an archive: unpacked beside its place, checked, and then put there at once."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dure.errors import DureError
from dure_hub.archives import ARTIFACTS, DATA, DUMP, SETTINGS, postgres
from dure_hub.archives.backup import Progress, enough_room, outside_artifacts
from dure_hub.archives.errors import BadPlace, FolderInUse, OtherDatabase, RestoreFailed
from dure_hub.archives.reading import Archive, reading
from dure_hub.settings import DataFolder, Settings
from dure_hub.supervisor import checks, restoring, revisions, swap
from dure_hub.supervisor.errors import BadSetting
from dure_hub.supervisor.prepare import settle
from dure_hub.supervisor.restoring import Move, Plan
from dure_hub.supervisor.standstill import standing_still

Say = Callable[..., None]
_SAID = {"program", "layout", "made_at", "machine", "revisions", "homes", "counts", "bytes"}
"""What every manifest says."""


@dataclass(frozen=True)
class Restored:
    """What was restored. `older`: the next `up` migrates it. `asides`: where what was there before is now."""

    manifest: dict[str, Any]
    older: bool
    asides: list[str]


def restore(file: Path, root: Path, replace: bool, say: Say) -> Restored:
    """Make the data folder `root` from the archive `file`. With `replace`, what is there is moved aside first.

    Raises `ArchiveDamaged`, `ArchiveNewer`, `DatabaseNewer`, `FolderInUse`, `DatabaseInUse`, `OtherDatabase`,
    `AlreadyUp`, `NotDown`, `NoRoom`, `BadPlace` or `RestoreFailed`; what was there before is then as it was.
    """
    root = root.expanduser().resolve()
    try:
        if restoring.finish(root):
            say("restore_finished", folder=root)
        _check_place(root, replace)
        with reading(file) as archive:
            if missing := _SAID - archive.manifest.keys():
                raise archive.damaged(f"it does not say {min(missing)}", f"{min(missing)} 정보가 없습니다")
            older = _check_revisions(archive)
            enough_room(_nearest(root), int(archive.manifest["bytes"]))
            with _nobody_in(root), swap.making(restoring.unpacking(root)) as stage:
                archive.unpack(stage, Progress(say, int(archive.manifest["bytes"])))
                asides = _put(archive, stage, root, replace)
    except DureError:
        raise
    except OSError as why:
        raise RestoreFailed(file=str(file), reason=why.strerror or str(why)) from why
    return Restored(archive.manifest, older, asides)


def _put(archive: Archive, stage: Path, root: Path, replace: bool) -> list[str]:
    """The unpacked archive becomes the data folder; the names of what was moved aside for it.

    What takes long or fails easily comes first, then the renames, which are recorded: where one of them fails, all
    is put back, and after a kill whoever comes next carries them on.
    """
    made = _finish(archive, stage)
    settings = _settings(stage, made, root)
    dump = stage / DUMP
    _check_database(archive, settings, dump.exists())
    asides: list[str] = []
    with _artifacts(settings, stage / ARTIFACTS, made, replace) as outside, contextlib.ExitStack() as back:
        os.sync()  # all of it is on the disk before any of it counts
        moves = [_move(*one) for one in ([outside] if outside else []) + [(made, root)]]
        mark = secrets.token_hex(8) if dump.exists() else ""
        back.callback(restoring.forget, root)
        restoring.record(root, _plan(settings, moves, mark))
        if dump.exists():
            asides += postgres.restore(settings, dump, replace, mark)
            back.callback(postgres.put_back, settings, [*asides])
        for move in moves:
            asides += _swap_in(move, back)
        back.pop_all()
        restoring.forget(root)
    return asides


def _plan(settings: Settings, moves: list[Move], mark: str) -> Plan:
    place = {"database_url": settings.database_url, "database_password_file": settings.database_password_file}
    return Plan(moves=tuple(moves), mark=mark, **(place if mark else {}))


def _move(made: Path, place: Path) -> Move:
    swap.clear(place.parent.glob(f"{place.name}.before-restore-*"))
    old = swap.aside(place, "before-restore")
    return Move(made=made, place=place, old=old, inode=made.stat().st_ino)


def _swap_in(move: Move, back: contextlib.ExitStack) -> list[str]:
    """Do it, and `back` undoes it; the name of what was there before."""
    made, place, before = move.made, move.place, move.old
    swap.put(made, place, before)

    def undo() -> None:
        place.rename(made)
        (made / swap.MARK).touch(mode=0o600)  # whoever made it removes it
        if before.exists():
            before.rename(place)

    back.callback(undo)
    return [str(before)] if before.exists() else []


def _finish(archive: Archive, stage: Path) -> Path:
    """What belongs into the folder besides what was unpacked: its places, and a mark of its own.

    The mark is a new one, so that whatever of the old portal runs on this machine is not taken for ours.
    """
    made = stage / DATA.rstrip("/")
    if not (made / "db").is_dir():
        raise archive.damaged("there are no databases in it", "데이터베이스가 없습니다")
    folder = DataFolder(made)
    folder.create()
    for private in (made, folder.secrets, folder.db):
        private.chmod(0o700)
    (made / "instance").write_text(secrets.token_hex(6))
    (made / swap.MARK).touch(mode=0o600)
    return made


def _settings(stage: Path, made: Path, root: Path) -> Settings:
    """As the next `up` will resolve them, for what lies outside of the folder.

    Those of the backup's portal are left for the commands that come before that `up`. Another version's may not
    fit: then there are none, as before the first `up`, and `up` says what is wrong in `dure.yaml`.
    """
    own = {"data": str(root), "instance": (made / "instance").read_text()}
    there = {**json.loads((stage / SETTINGS).read_text()), **own}
    last: Settings | None = None
    with contextlib.suppress(ValidationError):
        last = Settings.model_validate({name: there[name] for name in Settings.model_fields if name in there})
        DataFolder(made).resolved.write_text(last.model_dump_json(indent=2))
        DataFolder(made).resolved.chmod(0o600)
    try:
        return settle(data=made).model_copy(update={"data": root})
    except BadSetting:
        if last is None:
            raise
        return last


def _check_place(root: Path, replace: bool) -> None:
    checks.path_short_enough(DataFolder(root))
    checks.disk_local(DataFolder(root))
    if root.is_mount():
        why = {
            "en": "it is a mount point, which cannot be put in place at once; name a folder in it",
            "ko": "마운트 지점이라 한 번에 바꿀 수 없습니다. 그 안의 폴더를 지정하세요",
        }
        raise BadPlace(place=str(root), reason=why)
    if root.exists() and not root.is_dir():
        raise BadPlace(place=str(root), reason={"en": "it is no folder", "ko": "폴더가 아닙니다"})
    if root.exists() and any(root.iterdir()) and not replace:
        raise FolderInUse(folder=str(root))
    root.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _nobody_in(root: Path) -> Iterator[None]:
    """Nothing of the portal in this folder runs, or starts meanwhile."""
    if not (root / "run").is_dir():
        yield
        return
    with standing_still(Settings(data=root), work=True):
        yield


def _nearest(root: Path) -> Path:
    return next(path for path in (root.parent, *root.parents) if path.exists())


def _check_revisions(archive: Archive) -> bool:
    """Whether something is older than this program; raises where something is newer."""
    found = archive.manifest["revisions"]
    standings = [revisions.standing(one, found.get(one.name)) for one in revisions.DATABASES]
    for one in standings:
        if not one.known:
            revisions.refuse(one, archive.manifest["program"], str(archive.file))
    checks.refuse_newer_layout(str(archive.file), str(archive.manifest["layout"]))
    return any(one.older for one in standings)


def _check_database(archive: Archive, settings: Settings, dumped: bool) -> None:
    if dumped != bool(settings.database_url):
        kinds = ("SQLite", "PostgreSQL")
        raise OtherDatabase(there=kinds[dumped], wanted=kinds[bool(settings.database_url)])


@contextmanager
def _artifacts(
    settings: Settings, unpacked: Path, made: Path, replace: bool
) -> Iterator[tuple[Path, Path] | None]:
    """Artifacts from outside of the data folder, beside where the settings say, and that place; else into it."""
    target = outside_artifacts(settings)
    if not unpacked.exists() or target is None:
        if unpacked.exists():
            shutil.copytree(unpacked, made / "artifacts", dirs_exist_ok=True)
        yield None
        return
    if target.exists() and any(target.iterdir()) and not replace:
        raise FolderInUse(folder=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    with swap.making(target.with_name(f".{target.name}.restoring")) as stage:
        shutil.copytree(unpacked, stage, dirs_exist_ok=True)
        yield stage, target

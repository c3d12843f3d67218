"""A restore puts a whole folder in place, or leaves what is there."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dure_hub.archives.backup import backup
from dure_hub.archives.errors import (
    ArchiveDamaged,
    BadPlace,
    DatabaseInUse,
    FolderInUse,
    NoRoom,
    OtherDatabase,
    RestoreFailed,
)
from dure_hub.archives.restore import restore
from dure_hub.settings import Settings, load_settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event
from dure_hub.supervisor import lock, revisions, swap
from dure_hub.supervisor.errors import AlreadyUp, BadSetting, DatabaseNewer, NotDown
from tests.support.postgres import Postgres, programs
from tests.unit.archives.conftest import dump, quiet, state


@pytest.fixture
def archive(settings: Settings, tmp_path: Path) -> Path:
    """A backup of it."""
    backup(settings, tmp_path / "b", True, quiet)
    return tmp_path / "b"


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_knows_where_it_is_and_that_it_is_another_one(
    archive: Path, data: Path, tmp_path: Path
) -> None:
    restore(archive, tmp_path / "new", False, quiet)
    found = load_settings(tmp_path / "new")
    assert found.folder.root == tmp_path / "new"
    assert found.instance == (tmp_path / "new" / "instance").read_text()
    assert found.instance != (data / "instance").read_text(), (
        "what runs of the old portal here is not the new one's"
    )
    for name in ("portal-token", "cookie-secret"):
        assert (tmp_path / "new" / "secrets" / name).read_text() == (data / "secrets" / name).read_text()
    assert "new" in beside(tmp_path)
    assert not [name for name in beside(tmp_path) if "restoring" in name]


def test_a_folder_with_something_in_it_is_not_touched(archive: Path, data: Path) -> None:
    before = state(data)
    with pytest.raises(FolderInUse):
        restore(archive, data, False, quiet)
    assert state(data) == before


def test_an_empty_folder_is_filled(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert restore(archive, tmp_path / "empty", False, quiet).asides == []
    assert (tmp_path / "empty" / "db" / "dure.sqlite").exists()


def test_replacing_keeps_what_was_there_under_another_name(archive: Path, data: Path, tmp_path: Path) -> None:
    (data / "users" / "ana" / "since.txt").write_text("after the backup")
    before = state(data)
    done = restore(archive, data, True, quiet)
    (aside,) = done.asides
    assert state(Path(aside)) == before
    assert not (data / "users" / "ana" / "since.txt").exists()
    assert (data / "users" / "ana" / "work" / "notes.txt").exists()


def test_nothing_is_replaced_while_the_portal_is_up(archive: Path, settings: Settings) -> None:
    before = state(settings.folder.root)
    with lock.held(settings), pytest.raises(AlreadyUp):
        restore(archive, settings.folder.root, True, quiet)
    assert state(settings.folder.root) == before


def test_nothing_is_replaced_while_a_server_of_a_killed_portal_runs(archive: Path, settings: Settings) -> None:
    environment = {"DURE_PORTAL": (settings.folder.root / "instance").read_text(), "DURE_LEASE": "01X"}
    process = subprocess.Popen(["sleep", "600"], env=environment)
    try:
        with pytest.raises(NotDown, match=str(process.pid)):
            restore(archive, settings.folder.root, True, quiet)
    finally:
        process.kill()
        process.wait()


def test_a_damaged_backup_changes_nothing(archive: Path, data: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    before = state(data)
    for part in (0.1, 0.5, 0.9, 0.999):
        archive.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ArchiveDamaged):
            restore(archive, data, True, quiet)
        with pytest.raises(ArchiveDamaged):
            restore(archive, tmp_path / "new", False, quiet)
    assert state(data) == before
    assert beside(tmp_path) == ["b", "data"]


def test_a_backup_of_a_newer_program_is_refused_with_the_versions(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    with sqlite3.connect(settings.folder.db / "dure.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    monkeypatch.setattr(revisions, "program_version", lambda: "9.9.9")
    backup(settings, tmp_path / "b", True, quiet)
    monkeypatch.undo()
    with pytest.raises(DatabaseNewer, match=r"9\.9\.9; this one is 0\.1\.0.*revision 9999.*up to 00"):
        restore(tmp_path / "b", tmp_path / "new", False, quiet)
    assert not (tmp_path / "new").exists()


def test_a_backup_of_an_older_program_says_that_it_will_be_upgraded(old: Path, tmp_path: Path) -> None:
    settings = load_settings(old).model_copy(update={"data": old})
    backup(settings, tmp_path / "b", True, quiet)
    assert restore(tmp_path / "b", tmp_path / "new", False, quiet).older
    assert dump(tmp_path / "new" / "db" / "dure.sqlite") == dump(old / "db" / "dure.sqlite")


def test_a_mount_point_is_refused_with_the_way_out(archive: Path) -> None:
    with pytest.raises(BadPlace, match="mount point"):
        restore(archive, Path("/proc"), True, quiet)


def test_too_little_room_is_said_before_anything_is_unpacked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(2**30, 2**30, 2**20))
    with pytest.raises(NoRoom):
        restore(archive, tmp_path / "new", False, quiet)
    assert beside(tmp_path) == ["b", "data"]


def test_artifacts_elsewhere_come_back_there(settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "large" / "artifacts"
    (place / "mlflow").mkdir(parents=True)
    (place / "log").mkdir()
    (place / "log" / "file").write_text("no service's log")
    (place / "mlflow" / "model").write_text("weights")
    (settings.folder.root / "dure.yaml").write_text(f"artifacts_url: {place.as_uri()}\n")
    backup(settings.model_copy(update={"artifacts_url": place.as_uri()}), tmp_path / "b", True, quiet)
    with pytest.raises(FolderInUse, match="artifacts"):
        restore(tmp_path / "b", tmp_path / "new", False, quiet)
    assert not (tmp_path / "new").exists()
    shutil.rmtree(place)
    restore(tmp_path / "b", tmp_path / "new", False, quiet)
    assert (place / "mlflow" / "model").read_text() == "weights"
    assert (place / "log" / "file").exists()
    (place / "mlflow" / "model").write_text("newer")
    asides = restore(tmp_path / "b", tmp_path / "new", True, quiet).asides
    assert (place / "mlflow" / "model").read_text() == "weights"
    assert (Path(asides[0]) / "mlflow" / "model").read_text() == "newer"


@pytest.fixture
def with_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own programs, of the server's version."""
    folder = programs()
    assert folder is not None
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.usefixtures("with_programs")
def test_a_portal_on_postgresql_comes_back(
    settings: Settings, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = settings.model_copy(update={"database_url": postgres.empty()})
    migrate(first)
    note(first, "before")
    made = backup(first, tmp_path / "b", True, quiet)
    assert made.manifest["revisions"]["dure"]
    with pytest.raises(OtherDatabase, match="as PostgreSQL, and the settings want SQLite"):
        restore(tmp_path / "b", tmp_path / "new", False, quiet)

    monkeypatch.setenv("DURE_DATABASE_URL", first.database_url)
    with pytest.raises(DatabaseInUse):
        restore(tmp_path / "b", tmp_path / "new", False, quiet)
    note(first, "after")
    (aside,) = restore(tmp_path / "b", tmp_path / "new", True, quiet).asides
    assert aside.startswith("schema before_restore_")
    assert noted(first) == ["before"]

    other = postgres.empty()
    monkeypatch.setenv("DURE_DATABASE_URL", other)
    assert restore(tmp_path / "b", tmp_path / "another", False, quiet).asides == []
    assert noted(first.model_copy(update={"database_url": other})) == ["before"]


@pytest.mark.usefixtures("with_programs")
def test_a_dump_that_does_not_load_leaves_the_tables_that_are_there(
    settings: Settings, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = settings.model_copy(update={"database_url": postgres.empty()})
    migrate(first)
    note(first, "before")
    backup(first, tmp_path / "b", True, quiet)
    monkeypatch.setenv("DURE_DATABASE_URL", first.database_url)
    folder = tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("pg_restore")
    (folder / "pg_restore").write_text(
        f'#!/bin/sh\nfor w in "$@"; do case $w in --file=*) f=${{w#--file=}};; esac; done\n'
        f'"{real}" "$@" && echo "SELECT no_such_function();" >> "$f"\n'
    )
    (folder / "pg_restore").chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{Path(str(real)).parent}:/usr/bin:/bin")
    with pytest.raises(RestoreFailed, match="no_such_function"):
        restore(tmp_path / "b", tmp_path / "new", True, quiet)
    assert noted(first) == ["before"]
    assert not (tmp_path / "new").exists()


def outside(settings: Settings, tmp_path: Path) -> tuple[Settings, Path]:
    """Its artifacts elsewhere, with a model in them."""
    place = tmp_path / "large" / "artifacts"
    place.mkdir(parents=True)
    (place / "model").write_text("of the backup")
    (settings.folder.root / "dure.yaml").write_text(f"artifacts_url: {place.as_uri()}\n")
    return settings.model_copy(update={"artifacts_url": place.as_uri()}), place


def test_a_database_that_does_not_load_leaves_artifacts_elsewhere_as_they_are(
    settings: Settings, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, place = outside(settings.model_copy(update={"database_url": postgres.empty()}), tmp_path)
    migrate(first)
    folder = programs()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        backup(first, tmp_path / "b", True, quiet)
    (place / "model").write_text("newer")
    monkeypatch.setenv("DURE_DATABASE_URL", first.database_url)
    monkeypatch.setenv("PATH", str(tmp_path))  # no program of PostgreSQL's
    with pytest.raises(RestoreFailed):
        restore(tmp_path / "b", tmp_path / "new", True, quiet)
    assert (place / "model").read_text() == "newer"
    assert beside(place.parent) == ["artifacts"]


@pytest.mark.usefixtures("with_programs")
def test_where_the_folder_cannot_be_put_in_place_all_is_put_back(
    settings: Settings, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, place = outside(settings.model_copy(update={"database_url": postgres.empty()}), tmp_path)
    migrate(first)
    note(first, "before")
    backup(first, tmp_path / "b", True, quiet)
    note(first, "newer")
    (place / "model").write_text("newer")
    monkeypatch.setenv("DURE_DATABASE_URL", first.database_url)
    put = swap.put

    def fail(made: Path, root: Path, old: Path) -> None:
        if root == tmp_path / "new":
            raise OSError(5, "Input/output error")
        put(made, root, old)

    monkeypatch.setattr(swap, "put", fail)
    with pytest.raises(RestoreFailed, match="Input/output error"):
        restore(tmp_path / "b", tmp_path / "new", True, quiet)
    assert noted(first) == ["before", "newer"]
    assert (place / "model").read_text() == "newer"
    assert beside(place.parent) == ["artifacts"]


def note(settings: Settings, word: str) -> None:
    """An event with this word."""

    store = Store(database_url(settings))
    with store.transaction() as session:
        seq = session.query(Event).count() + 1
        at = datetime.now(UTC)
        session.add(Event(id=word, seq=seq, actor="ana", verb="note", object=word, verdict={}, at=at))
    store.close()


def noted(settings: Settings) -> list[str]:
    """Which there are."""
    store = Store(database_url(settings))
    with store.reading() as session:
        found = [event.id for event in session.query(Event).order_by(Event.id)]
    store.close()
    return found


def test_settings_of_another_version_do_not_keep_a_backup_from_being_restored(
    settings: Settings, tmp_path: Path
) -> None:
    (settings.folder.root / "dure.yaml").write_text("no_longer_a_setting: 1\n")
    backup(settings.model_copy(update={"port": -5}), tmp_path / "b", True, quiet)
    with pytest.raises(BadSetting, match="no_longer_a_setting"):
        restore(tmp_path / "b", tmp_path / "new", False, quiet)
    assert not (tmp_path / "new").exists()
    (settings.folder.root / "dure.yaml").write_text("port: 8123\n")
    backup(settings.model_copy(update={"port": -5}), tmp_path / "c", True, quiet)
    restore(tmp_path / "c", tmp_path / "new", False, quiet)
    assert not (tmp_path / "new" / "run" / "settings.json").exists()
    (settings.folder.root / "dure.yaml").write_text("no_longer_a_setting: 1\n")
    backup(settings, tmp_path / "d", True, quiet)
    restore(tmp_path / "d", tmp_path / "another", False, quiet)
    assert (tmp_path / "another" / "dure.yaml").exists()


def test_a_folder_that_cannot_be_made_is_said(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RestoreFailed, match="File exists"):
        restore(archive, tmp_path / "file" / "new", False, quiet)
    with pytest.raises(RestoreFailed, match="No such file"):
        restore(tmp_path / "no-such-backup", tmp_path / "new", False, quiet)

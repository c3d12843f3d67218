"""A backup is one moment of the whole portal, while everybody goes on, or it is not there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dure_hub.archives import CONTENTS, MANIFEST
from dure_hub.archives.backup import backup
from dure_hub.archives.errors import BackupFailed, BadPlace, FileThere, NoRoom
from dure_hub.archives.members import LeftOut, walk
from dure_hub.archives.restore import restore
from dure_hub.archives.writing import SMALL, writing
from dure_hub.settings import RESERVE, Settings
from dure_hub.supervisor.errors import SomebodyElseWorks
from tests.unit.archives.conftest import quiet, state

WRITER = """
import os, sqlite3, sys
from pathlib import Path
data = Path(sys.argv[1])
names = ("mlflow", "mlflow-auth", "dure", "hub")
open_ = {name: sqlite3.connect(data / "db" / f"{name}.sqlite", timeout=60, isolation_level=None) for name in names}
for one in open_.values():
    one.execute("CREATE TABLE IF NOT EXISTS story (number INTEGER PRIMARY KEY)")
number = 0
while True:
    number += 1
    file = data / "artifacts" / f"story-{number}"
    file.with_suffix(".new").write_text("x" * 100)
    file.with_suffix(".new").replace(file)  # what a row names is there before it
    for name in names:
        open_[name].execute("INSERT INTO story VALUES (?)", (number,))
    if number == 20:
        print("ready", flush=True)
"""
"""Each number gets a file, then a row in one database after the other: so every later one has at most as many."""


@contextmanager
def writers(data: Path) -> Iterator[None]:
    """A process that goes on writing."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(data)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        assert process.poll() is None, "it was never disturbed"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def numbers(data: Path, name: str) -> list[int]:
    with closing(sqlite3.connect(data / "db" / f"{name}.sqlite")) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM story ORDER BY number")]


def contents(file: Path, name: str) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        member = tar.extractfile(name)
        assert member is not None
        return dict(json.load(member))


def test_all_databases_are_of_one_moment_and_every_row_finds_its_file(settings: Settings, tmp_path: Path) -> None:
    with writers(settings.folder.root):
        made = [backup(settings, tmp_path / f"b{number}", True, quiet) for number in range(3)]
    assert made[0].manifest["homes"]
    for number in range(3):
        restore(tmp_path / f"b{number}", tmp_path / f"r{number}", False, quiet)
        found = [numbers(tmp_path / f"r{number}", name) for name in ("mlflow", "mlflow-auth", "dure", "hub")]
        counts = [len(rows) for rows in found]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] - counts[-1] <= 1, "a power cut would leave one number half written, and not two"
        assert counts[0] >= 20
        assert all(rows == list(range(1, len(rows) + 1)) for rows in found)
        files = {path.name for path in (tmp_path / f"r{number}" / "artifacts").glob("story-*")}
        assert {f"story-{one}" for one in found[0]} <= files


def test_what_is_restored_is_what_was_there(settings: Settings, tmp_path: Path) -> None:
    home = settings.folder.users / "ana"
    (home / "세계.txt").write_text("hello")
    (home / os.fsdecode(b"bad-\xff-name")).write_bytes(b"\0\1")
    (home / "run.sh").chmod(0o755)
    (home / "dangling").symlink_to("nowhere")
    before = state(settings.folder.root)
    backup(settings, tmp_path / "b", True, quiet)
    restore(tmp_path / "b", tmp_path / "restored", False, quiet)
    after = state(tmp_path / "restored")
    anew = ("run", "log", "envoy", "backup", "instance")
    assert {name: what for name, what in after.items() if not name.startswith(anew)} == {
        name: what for name, what in before.items() if not name.startswith(anew)
    }
    assert state(settings.folder.root) == before
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "restored" / "secrets").iterdir()]
    assert modes
    assert set(modes) == {0o600}
    assert stat.S_IMODE((tmp_path / "restored" / "users" / "ana" / "run.sh").stat().st_mode) == 0o755


def test_people_may_be_left_out_and_processes_always_are(settings: Settings, tmp_path: Path) -> None:
    place = settings.folder.jobs / "listens"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        os.mkfifo(settings.folder.jobs / "pipe")
        made = backup(settings, tmp_path / "b", False, quiet)
    assert made.left_out == []
    with tarfile.open(tmp_path / "b") as tar:
        names = tar.getnames()
    assert names[0] == MANIFEST
    assert names[-1] == CONTENTS
    assert not [name for name in names if name.startswith(("data/users", "data/run", "data/log/"))]
    assert not [name for name in names if name.endswith(("listens", "pipe"))]
    assert "data/db/dure.sqlite" in names
    assert contents(tmp_path / "b", MANIFEST)["homes"] is False


def test_logs_of_services_stay_and_those_of_people_s_work_come_along(settings: Settings, tmp_path: Path) -> None:
    (settings.folder.log / "hub.log").write_text("of a service")
    (settings.folder.log / "work" / "01X").mkdir(parents=True)
    (settings.folder.log / "work" / "01X" / "log").write_text("of a job")
    backup(settings, tmp_path / "b", True, quiet)
    restore(tmp_path / "b", tmp_path / "new", False, quiet)
    assert (tmp_path / "new" / "log" / "work" / "01X" / "log").read_text() == "of a job"
    assert not (tmp_path / "new" / "log" / "hub.log").exists()


def test_no_link_is_followed(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("of another")
    (settings.folder.users / "ana" / "into").symlink_to(tmp_path / "secret")
    (settings.folder.users / "ana" / "file").symlink_to(tmp_path / "secret" / "key")
    backup(settings, tmp_path / "b", True, quiet)
    with tarfile.open(tmp_path / "b") as tar:
        assert not [name for name in tar.getnames() if name.endswith(("/into", "/key", "ana/file"))]
    assert contents(tmp_path / "b", CONTENTS)["links"]["data/users/ana/into"] == str(tmp_path / "secret")


@pytest.mark.parametrize("size", [SMALL // 2, SMALL * 2])
@pytest.mark.parametrize("change", [100_000, -100_000])
def test_a_file_that_changes_while_it_is_read_spoils_nothing_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: int
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    file = tree / "log"
    file.write_bytes(b"a" * size)
    looked = os.fstat

    def look(descriptor: int) -> os.stat_result:
        """Right after each look at it, its writer does something."""
        status = looked(descriptor)
        if status.st_ino == file.stat().st_ino:
            os.truncate(file, status.st_size + change)
        return status

    monkeypatch.setattr(os, "fstat", look)
    with writing(tmp_path / "b", lambda done: None) as out:
        out.text(MANIFEST, {"format": 1})
        for one in walk(tree, frozenset(), LeftOut()):
            out.member("data/", one)
        out.text("data/after", {"whole": True})
    monkeypatch.undo()
    found = contents(tmp_path / "b", CONTENTS)
    with tarfile.open(tmp_path / "b") as tar:
        assert tar.getmember("data/log").size == found["files"]["data/log"][0]
        assert tar.getnames()[-2:] == ["data/after", CONTENTS]
    assert found["changed"] == ["data/log"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_root_gives_nobody_a_file_of_somebody_else_s(settings: Settings, tmp_path: Path) -> None:
    home, other = settings.folder.users / "ana", tmp_path / "shadow"
    other.write_text("of root")
    (home / "mine").write_text("ana's")
    os.chown(home, 12345, 12345)
    os.chown(home / "mine", 12345, 12345)
    (home / "stolen").hardlink_to(other)
    (home / "mine too").hardlink_to(home / "mine")
    made = backup(settings, tmp_path / "b", True, quiet)
    assert made.left_out == ["data/users/ana/stolen"]
    restore(tmp_path / "b", tmp_path / "new", False, quiet)
    assert (tmp_path / "new" / "users" / "ana" / "mine too").read_text() == "ana's"
    assert not (tmp_path / "new" / "users" / "ana" / "stolen").exists()


def test_what_may_not_be_read_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse(path: Any, *words: Any, **names: Any) -> int:
        if path == "notes.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *words, **names)

    monkeypatch.setattr(os, "open", refuse)  # root may read everything, and the tests often run as root
    made = backup(settings, tmp_path / "b", True, quiet)
    assert made.left_out == ["data/users/ana/work/notes.txt", "data/users/ben/work/notes.txt"]


def test_a_folder_to_read_and_not_to_pass_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = os.stat

    def refuse(path: Any, *words: Any, **names: Any) -> os.stat_result:
        if path == "notes.txt":
            raise PermissionError(13, "Permission denied")
        return looked(path, *words, **names)

    monkeypatch.setattr(os, "stat", refuse)
    made = backup(settings, tmp_path / "b", True, quiet)
    assert made.left_out == ["users/ana/work/notes.txt", "users/ben/work/notes.txt"]


def test_it_overwrites_nothing(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("an earlier one")
    with pytest.raises(FileThere):
        backup(settings, tmp_path / "b", True, quiet)
    assert (tmp_path / "b").read_text() == "an earlier one"


def test_a_file_that_comes_meanwhile_is_kept(settings: Settings, tmp_path: Path) -> None:
    def appear(done: int) -> None:
        (tmp_path / "b").write_text("another's")

    with pytest.raises(FileExistsError), writing(tmp_path / "b", appear) as out:
        out.text(MANIFEST, {})
    assert (tmp_path / "b").read_text() == "another's"
    assert not (tmp_path / "b.partial").exists()


def test_two_at_once_are_refused(settings: Settings, tmp_path: Path) -> None:
    with writing(tmp_path / "b", lambda done: None) as out:
        out.text(MANIFEST, {})
        with pytest.raises(SomebodyElseWorks):
            backup(settings, tmp_path / "b", True, quiet)
    assert (tmp_path / "b").exists()


def test_it_is_not_put_where_the_next_one_would_take_it_in(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadPlace):
        backup(settings, settings.folder.users / "b", True, quiet)
    with pytest.raises(BadPlace):
        backup(settings, tmp_path / "nowhere" / "b", True, quiet)
    backup(settings, settings.folder.backup / "b", True, quiet)
    assert (settings.folder.backup / "b").exists()


def test_a_file_of_which_nothing_is_written_fills_no_backup(settings: Settings, tmp_path: Path) -> None:
    with (settings.folder.users / "ana" / "large").open("wb") as large:
        large.truncate(2**43)
    made = backup(settings, tmp_path / "b", True, quiet)
    assert made.left_out == ["data/users/ana/large"]
    assert made.size < 2**30


def test_what_runs_have_in_their_own_tmp_is_in_no_backup(settings: Settings, tmp_path: Path) -> None:
    (settings.folder.given / "01X" / "tmp").mkdir(parents=True)
    (settings.folder.given / "01X" / "tmp" / "kernel-key").write_text("secret")
    backup(settings, tmp_path / "b", False, quiet)
    with tarfile.open(tmp_path / "b") as tar:
        assert not [name for name in tar.getnames() if "given" in name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_nothing_is_written_into_a_file_that_somebody_else_put_there(settings: Settings, tmp_path: Path) -> None:
    laid = tmp_path / "b.partial"
    laid.touch()
    os.chown(laid, 12345, 12345)
    with laid.open("rb") as theirs:
        with pytest.raises(BadPlace, match="somebody else"):
            backup(settings, tmp_path / "b", True, quiet)
        assert theirs.read() == b""
    assert not (tmp_path / "b").exists()
    laid.unlink()
    (tmp_path / ".b.databases.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupFailed):
        backup(settings, tmp_path / "b", True, quiet)
    assert not (tmp_path / "elsewhere").exists()


def test_too_little_room_is_said_before_anything_is_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(2**30, 2**30, 2**20))
    with pytest.raises(NoRoom, match="MiB are needed"):
        backup(settings, tmp_path / "place" / "b", True, quiet)
    assert list((tmp_path / "place").iterdir()) == []


def test_the_reserve_of_the_disk_needs_no_room(settings: Settings, tmp_path: Path) -> None:
    for name in RESERVE:
        with (settings.folder.db / name).open("wb") as large:
            large.truncate(2**43)
    backup(settings, tmp_path / "b", True, quiet)
    with tarfile.open(tmp_path / "b") as archive:
        assert not [name for name in archive.getnames() if "reserve" in name]


def test_a_damaged_database_is_not_backed_up(settings: Settings, tmp_path: Path) -> None:
    path = settings.folder.db / "mlflow.sqlite"
    text = bytearray(path.read_bytes())
    text[8192:12288] = b"\xff" * 4096
    path.write_bytes(text)
    (tmp_path / "place").mkdir()
    with pytest.raises(BackupFailed):
        backup(settings, tmp_path / "place" / "b", True, quiet)
    assert list((tmp_path / "place").iterdir()) == []


def test_it_says_how_far_it_is(
    settings: Settings, tmp_path: Path, said: tuple[list[str], Callable[..., Any]]
) -> None:
    keys, say = said
    with (settings.folder.users / "ana" / "large").open("wb") as large:
        large.truncate(2**30)  # nothing but zeros: seconds, and few bytes
    backup(settings, tmp_path / "b", True, say)
    assert keys[0] == "copying"
    assert set(keys) == {"copying", "progress"}
